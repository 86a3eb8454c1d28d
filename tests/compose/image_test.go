package compose

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// dockerfile is what the tests need to know of it.
type dockerfile struct {
	build      string   // the shell command that writes to /out
	base       string   // of the last stage
	copies     []string // FROM TO of the last stage, in order
	owned      []string // which of those are given to the user
	user       string
	entrypoint []string
}

// readDockerfile takes the file apart, as far as ours goes: no heredocs, no escapes but that at the
// end of a line.
func readDockerfile() (d dockerfile, err error) {
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return d, err
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(string(b), "\\\n", " "), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "FROM":
			d = dockerfile{build: d.build, base: rest}
		case "RUN":
			if strings.Contains(rest, "go build") {
				d.build = regexp.MustCompile(`--mount=\S+`).ReplaceAllString(rest, "")
			}
		case "COPY":
			var paths []string
			for f := range strings.FieldsSeq(rest) {
				if !strings.HasPrefix(f, "--") {
					paths = append(paths, f)
				}
			}
			d.copies = append(d.copies, strings.Join(paths, " "))
			if strings.Contains(rest, "--chown=65532:65532 ") {
				d.owned = append(d.owned, paths[len(paths)-1])
			}
		case "USER":
			d.user = rest
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &d.entrypoint); err != nil {
				return d, fmt.Errorf("ENTRYPOINT %s: %w", rest, err)
			}
		}
	}
	return d, nil
}

// image is what the Dockerfile makes, as files on this machine.
type image struct {
	dockerfile
	out     string // what the build stage has in /out
	program string
}

var buildImage = sync.OnceValues(func() (i image, err error) {
	if i.dockerfile, err = readDockerfile(); err != nil {
		return i, err
	}
	context := filepath.Join(scratch, "context")
	if err := copyContext(context); err != nil {
		return i, err
	}
	i.out = filepath.Join(scratch, "out")
	if err := os.Mkdir(i.out, 0o755); err != nil {
		return i, err
	}
	cmd := exec.Command("/bin/sh", "-e", "-c", strings.ReplaceAll(i.build, "/out/", i.out+"/"))
	cmd.Dir = context
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "VERSION=v1.2.3-test", "COMMIT=0123abc", "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		return i, fmt.Errorf("the Dockerfile's build: %w\n%s", err, out)
	}
	i.program = filepath.Join(i.out, "tenantry")
	return i, nil
})

// filesOfImage builds the program once, by the Dockerfile's own command, from what .dockerignore lets through.
func filesOfImage(t *testing.T) image {
	t.Helper()
	i, err := buildImage()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// copyContext copies what .dockerignore lets through: all that is named by a line with "!", but what
// comes under one with "**/".
func copyContext(to string) error {
	b, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		return err
	}
	var in, out []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "*" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "!"):
			in = append(in, line[1:])
		case strings.HasPrefix(line, "**/"):
			out = append(out, line[3:])
		default:
			return fmt.Errorf(".dockerignore: this test does not know what %q means", line)
		}
	}
	for _, path := range in {
		if err := copyBut(filepath.Join(root, path), filepath.Join(to, path), out); err != nil {
			return err
		}
	}
	return nil
}

func copyBut(from, to string, but []string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil // .dockerignore may let through what is not there yet
		}
		if err != nil {
			return err
		}
		for _, pattern := range but {
			match, err := filepath.Match(pattern, e.Name())
			if err != nil || match && !e.IsDir() {
				return err
			}
			if match {
				return fs.SkipDir
			}
		}
		if e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
}

func TestDockerfile_TheProgram_IsStaticAndKnowsItsVersion(t *testing.T) {
	i := filesOfImage(t)
	out, err := exec.CommandContext(t.Context(), i.program, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "tenantry v1.2.3-test, commit 0123abc, go") {
		t.Errorf("version: got %q, %v: want what the build arguments say", out, err)
	}
	if runtime.GOOS != "linux" {
		return // the image has no other
	}
	f, err := elf.Open(i.program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it wants an interpreter, which the image does not have")
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it links %v, %v: the image has no libraries", libraries, err)
	}
}

func TestDockerfile_TheImage_IsWhatComposeTakesItToBe(t *testing.T) {
	i := filesOfImage(t)
	if i.base != "scratch" {
		t.Errorf("the image is FROM %s, want scratch", i.base)
	}
	want := []string{
		"/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
		"/out/tenantry /tenantry",
		"/out/data /data",
	}
	if !slices.Equal(i.copies, want) {
		t.Errorf("the image has %q, want %q", i.copies, want)
	}
	if !slices.Equal(i.owned, []string{"/data"}) {
		t.Errorf("its user owns %v, want /data alone: a new volume takes over the owner", i.owned)
	}
	if !slices.Equal(i.entrypoint, []string{"/tenantry"}) {
		t.Errorf("the entrypoint is %v, want /tenantry", i.entrypoint)
	}
	if info, err := os.Stat(filepath.Join(i.out, "data")); err != nil || !info.IsDir() {
		t.Errorf("the build makes no /out/data: %v", err)
	}
	p := load(t, nil)
	for _, name := range names(p) {
		s := p.Services[name]
		if !ours(s) {
			continue
		}
		if s.User != i.user {
			t.Errorf("%s runs as %s, and the image as %s", name, s.User, i.user)
		}
		if len(s.Entrypoint) > 0 {
			t.Errorf("%s has an entrypoint of its own: %v", name, s.Entrypoint)
		}
		if s.HealthCheck != nil && s.HealthCheck.Test[1] != i.entrypoint[0] {
			t.Errorf("%s is checked by %v, which the image does not have", name, s.HealthCheck.Test)
		}
		for _, v := range s.Volumes {
			if !slices.Contains(i.owned, v.Target) {
				t.Errorf("%s has a volume at %s, which its user does not own", name, v.Target)
			}
		}
		for variable, value := range environmentOf(s) {
			if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok && !slices.ContainsFunc(s.Secrets, func(r types.ServiceSecretConfig) bool { return r.Source == secret }) {
				t.Errorf("%s: %s is %s, which it is not given", name, variable, value)
			}
		}
	}
}
