//go:build unix

package testservers

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PostgresBinEnv, where set, is the directory of the PostgreSQL programs that tests run.
const PostgresBinEnv = "TENANTRY_POSTGRES_BIN"

// installTime is how long it may take to install a server and start it.
const installTime = 10 * time.Minute

// PostgresVersionEnv, where set, is the major version of PostgreSQL that tests run, such as 17.
const PostgresVersionEnv = "TENANTRY_TEST_POSTGRES_VERSION"

// newestPostgres is fetched where none is installed, and none can be.
const newestPostgres = "18"

// fetchedPostgres are the releases that can be fetched, by their major versions: all that the event
// store is for.
var fetchedPostgres = map[string]string{"14": "14.20.0", "15": "15.15.0", "16": "16.11.0", "17": "17.7.0", newestPostgres: "18.1.0"}

// FindPostgres is the directory of PostgreSQL's programs: that of [PostgresBinEnv], of PATH,
// the newest that Debian has installed; else Debian's package is installed, where we may; else
// the programs are fetched with Maven and kept in the user's cache. With [PostgresVersionEnv] they are
// of that version: Debian's where it is installed, else fetched.
func FindPostgres(ctx context.Context) (string, error) {
	if why := os.Getenv(PostgresMissingEnv); why != "" {
		return "", errors.New(why)
	}
	if dir := os.Getenv(PostgresBinEnv); dir != "" {
		return dir, nil
	}
	if version := os.Getenv(PostgresVersionEnv); version != "" {
		if dir := "/usr/lib/postgresql/" + version + "/bin"; hasPostgres(dir) {
			return dir, nil
		}
		return fetchPostgres(ctx, version)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		// PATH may have a link, beside which postgres is not.
		if path, err = filepath.EvalSymlinks(path); err == nil && hasPostgres(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	if dir, ok := debianPostgres(); ok {
		return dir, nil
	}
	debianErr := installDebianPostgres(ctx)
	if dir, ok := debianPostgres(); ok {
		return dir, nil
	}
	dir, fetchErr := fetchPostgres(ctx, newestPostgres)
	if fetchErr != nil {
		return "", errors.Join(errors.New("PostgreSQL is neither in PATH nor in /usr/lib/postgresql"), debianErr, fetchErr)
	}
	return dir, nil
}

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// debianPostgres is the newest version that is installed where Debian puts it.
func debianPostgres() (string, bool) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", false
	}
	version := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 for what is no version
		return n
	}
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range dirs {
		if hasPostgres(dir) {
			return dir, true
		}
	}
	return "", false
}

// installDebianPostgres installs Debian's package, without the cluster that it would start.
func installDebianPostgres(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("install Debian's package postgresql: that takes root")
	}
	const conf = "/etc/postgresql-common/createcluster.conf"
	if _, err := os.Stat(conf); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(conf, []byte("create_main_cluster = false\n"), 0o644); err != nil {
			return err
		}
	}
	return install(ctx, "postgresql")
}

// fetchPostgres fetches the programs of a major version as a jar, and unpacks them into the user's cache.
func fetchPostgres(ctx context.Context, version string) (string, error) {
	release, known := fetchedPostgres[version]
	if !known {
		return "", fmt.Errorf("PostgreSQL %q cannot be fetched: %s has to be one of %s", version, PostgresVersionEnv, strings.Join(slices.Sorted(maps.Keys(fetchedPostgres)), ", "))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	arch := map[string]string{"amd64": "amd64", "arm64": "arm64v8"}[runtime.GOARCH]
	if arch == "" || (runtime.GOOS != "linux" && runtime.GOOS != "darwin") {
		return "", fmt.Errorf("there is no PostgreSQL to be fetched for %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	artifact := fmt.Sprintf("embedded-postgres-binaries-%s-%s", runtime.GOOS, arch)
	if os.Geteuid() == 0 {
		cache = "/var/cache" // what root's home holds, the user that PostgreSQL runs as cannot read
	}
	dir := filepath.Join(cache, "tenantry", "postgres-"+release)
	if hasPostgres(filepath.Join(dir, "bin")) {
		return filepath.Join(dir, "bin"), nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("fetch PostgreSQL %s: Maven is not installed: %w", release, err)
	}
	scratch, err := os.MkdirTemp("", "tenantry-fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	jar := artifact + "-" + release + ".jar"
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "dependency:copy",
		"-Dartifact=io.zonky.test.postgres:"+artifact+":"+release, "-DoutputDirectory="+scratch)
	cmd.Dir = scratch
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s: %w: %s", jar, err, out[max(0, len(out)-1000):])
	}
	if err := unpackPostgres(ctx, filepath.Join(scratch, jar), scratch, dir); err != nil {
		return "", fmt.Errorf("unpack %s: %w", jar, err)
	}
	return filepath.Join(dir, "bin"), nil
}

// unpackPostgres makes dir from the one archive in a jar. Another process may do the same, so
// it takes its name when it is whole.
func unpackPostgres(ctx context.Context, jar, scratch, dir string) error {
	r, err := zip.OpenReader(jar)
	if err != nil {
		return err
	}
	defer r.Close()
	i := slices.IndexFunc(r.File, func(f *zip.File) bool { return strings.HasSuffix(f.Name, ".txz") })
	if i < 0 {
		return errors.New("it holds no .txz")
	}
	in, err := r.File[i].Open()
	if err != nil {
		return err
	}
	defer in.Close()
	archive := filepath.Join(scratch, "postgres.txz")
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, 1<<30))
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	whole, err := os.MkdirTemp(filepath.Dir(dir), "unpacking-")
	if err != nil {
		return err
	}
	if err := os.Chmod(whole, 0o755); err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, "tar", "-xJf", archive, "-C", whole).CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("tar: %w: %s", err, text), os.RemoveAll(whole))
	}
	if err := os.Rename(whole, dir); err != nil && !hasPostgres(filepath.Join(dir, "bin")) {
		return errors.Join(err, os.RemoveAll(whole))
	}
	return nil
}
