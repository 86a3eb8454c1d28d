package system

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPromise3_ARegionThatHasLostAnythingOrAll_ComesBackEqualToTheStore(t *testing.T) {
	t.Parallel()
	stopped, killed := seededDirs(t)
	region := func(name string) string { return filepath.Join("regions", name) }

	type loss struct {
		name string
		lose func(t *testing.T, dir string)
	}
	remove := func(paths ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, p := range paths {
				if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll(filepath.Join(dir, p)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	losses := []loss{
		{"nothing", func(*testing.T, string) {}},
		{"kafka", remove("kafka")},
		{"regions", remove("regions")},
		{"kafka and regions", remove("kafka", "regions")},
		{"one region", remove(region("us-east"))},
		{"the generation of one region", remove(filepath.Join(region("us-east"), "gen-0001"))},
		{"the pointer of one region", remove(filepath.Join(region("eu-west"), "current"))},
		{"a pointer that is garbage", write("regions/eu-west/current", "\x00\xff garbage\n")},
		{"a pointer to nowhere", write("regions/eu-west/current", "gen-0099\n")},
		{"a pointer that leads out of the region", write("regions/eu-west/current", "../us-east/gen-0001\n")},
		{"an empty pointer", write("regions/eu-west/current", "")},
		{"a build that was cut short", func(t *testing.T, dir string) {
			copyTree(t, filepath.Join(dir, region("eu-west"), "gen-0001"), filepath.Join(dir, region("eu-west"), "gen-0002"))
		}},
	}
	inKafka := filepath.Join("kafka", "partitions", topic+"-3")
	losses = append(losses,
		loss{"one partition", remove(inKafka)},
		loss{"all partitions but not the topic", remove(filepath.Join("kafka", "partitions"))},
		loss{"the end of a partition", func(t *testing.T, dir string) {
			damageFile(t, filepath.Join(dir, inKafka, "0.dat"), damages["cut short"])
		}},
		loss{"bits of a partition", func(t *testing.T, dir string) {
			damageFile(t, filepath.Join(dir, inKafka, "0.dat"), damages["bits flipped"])
		}},
		loss{"one bit of a partition", func(t *testing.T, dir string) {
			damageFile(t, filepath.Join(dir, inKafka, "0.dat"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		loss{"the index of a partition", func(t *testing.T, dir string) {
			damageFile(t, filepath.Join(dir, inKafka, "0.idx"), damages["bits flipped"])
		}},
		loss{"the snapshot of a partition", func(t *testing.T, dir string) {
			damageFile(t, filepath.Join(dir, inKafka, "snapshot.json"), damages["cut short"])
		}},
	)
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, stopped, l.lose)
		})
	}
	// What the read model had not flushed, and Kafka not indexed, is in other files.
	for _, l := range losses[:4] {
		t.Run(l.name+", after a kill", func(t *testing.T) {
			t.Parallel()
			comesBack(t, killed, l.lose)
		})
	}
}

func TestPromise3_AnyFileOfAGenerationIsDamaged_TheRegionComesBackEqualToTheStore(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long: one start for each way to damage each file")
	}
	t.Parallel()
	stopped, killed := seededDirs(t)
	const generation = "regions/eu-west/gen-0001"
	seen := make(map[string]bool) // by what comes behind the number: .sst, .mem …
	for _, seeded := range []string{stopped, killed} {
		files, err := os.ReadDir(filepath.Join(seeded, generation))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			kind := strings.TrimLeft(file.Name(), "0123456789")
			if seen[kind] {
				continue
			}
			seen[kind] = true
			path := filepath.Join(generation, file.Name())
			for how, damage := range damages {
				t.Run(file.Name()+", "+how, func(t *testing.T) {
					t.Parallel()
					comesBack(t, seeded, func(t *testing.T, dir string) { damageFile(t, filepath.Join(dir, path), damage) })
				})
			}
		}
	}
	for _, kind := range []string{".sst", ".mem", ".vlog", "MANIFEST", "KEYREGISTRY", "DISCARD"} {
		if !seen[kind] {
			t.Errorf("no file %s was there to be damaged: got %v", kind, seen)
		}
	}
}

// damages are what a disk, or a person, may do to a file.
var damages = map[string]func([]byte) []byte{
	"empty":     func([]byte) []byte { return nil },
	"cut short": func(b []byte) []byte { return b[:len(b)/2] },
	"all zeros": func(b []byte) []byte { return make([]byte, len(b)) },
	"bits flipped": func(b []byte) []byte {
		b = bytes.Clone(b)
		for i := 0; i < len(b); i += 512 {
			b[i] ^= 0x55
		}
		return b
	},
}

func damageFile(t *testing.T, path string, damage func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, damage(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// comesBack starts dev on a copy of a directory that has lost something, and expects both regions to
// be equal to the log, with another command and after another start, and the topic to hold all of
// it.
func comesBack(t *testing.T, seeded string, lose func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	copyTree(t, seeded, dir)
	lose(t, dir)
	c := newClient(t)
	d := start(t, dir)
	checkHostnames(t, c, d, readTruth(t, c, d.Admin))
	c.must("POST", d.Admin+"/v1/tenants", `{"id":"ten_later","name":"N","hostnames":["later.example"],"home_region":"eu-west"}`)
	w := readTruth(t, c, d.Admin)
	checkHostnames(t, c, d, w)
	checkTopic(t, d.Kafka, w)
	d.stop()

	d = start(t, dir)
	checkHostnames(t, c, d, w)
	d.stop()
}

// seededDirs are two data directories with the example roster and some changes: of a dev that was
// stopped, and of one that was killed.
func seededDirs(t *testing.T) (stopped, killed string) {
	t.Helper()
	seed := func(end func(*dev)) string {
		dir := t.TempDir()
		d := start(t, dir, "--import", roster)
		c := newClient(t)
		change(t, c, d.Admin)
		checkRegions(t, c, d)
		end(d)
		return dir
	}
	return seed((*dev).stop), seed((*dev).kill)
}

// change makes an event of every sort that is not in the roster.
func change(t *testing.T, c *client, admin string) {
	t.Helper()
	for _, r := range []struct{ method, path, body string }{
		{"PATCH", "/v1/tenants/ten_acme", `{"name":"Acme again","home_region":"us-east","group":"grp_early"}`},
		{"PUT", "/v1/tenants/ten_acme/hostnames/new.acme.example", `{"primary":true}`},
		{"DELETE", "/v1/tenants/ten_acme/hostnames/www.acme.example", ""},
		{"POST", "/v1/tenants", `{"id":"ten_heir","name":"Heir","hostnames":["www.acme.example"],"home_region":"eu-west"}`},
		{"PUT", "/v1/tenants/ten_acme/products/wiki", `{"plan":"free","seats":9223372036854775807}`},
		{"DELETE", "/v1/tenants/ten_acme/products/desk", ""},
		{"PUT", "/v1/tenants/ten_acme/config/odd", `{"value":{"π":[1,null,"\u2028"]}}`},
		{"DELETE", "/v1/tenants/ten_acme/config/locale", ""},
		{"PUT", "/v1/tenants/ten_acme/database", `{"database":"db_us-east-pg-3","name":"acme"}`},
		{"PATCH", "/v1/databases/db_us-east-pg-3", `{"host":"failed-over.example"}`},
		{"PATCH", "/v1/groups/grp_early", `{"ring":7}`},
		{"POST", "/v1/tenants/ten_acme/suspend", `{"reason":"unpaid"}`},
		{"POST", "/v1/tenants/ten_heir/deactivate", ""},
		{"DELETE", "/v1/tenants/ten_heir", ""},
		{"POST", "/v1/tenants", `{"id":"ten_heir-2","name":"Heir","hostnames":["www.acme.example"],"home_region":"eu-west"}`},
	} {
		c.must(r.method, admin+r.path, r.body)
	}
}

// copyTree copies the directory of a system that does not run. The sockets that one leaves that was
// killed are nothing to be copied.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(from, "regions", "*", "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		if err := os.Remove(s); err != nil && !errors.Is(err, fs.ErrNotExist) { // another copy is made at the same time
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// write makes a loss of writing something else into a file.
func write(path, content string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
