package system

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each test here starts dev where it cannot run: it has to say why in one line, end with exit code
// 1, and harm nothing.

func TestDev_OnADirectoryThatAnotherUses_SaysSoAndLeavesItAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir)
	c := newClient(t)
	c.must("POST", first.Admin+"/v1/tenants", `{"id":"ten_a","name":"A","hostnames":["a.example"],"home_region":"eu-west"}`)

	refuses(t, devArgs(dir), "in use")

	c.must("POST", first.Admin+"/v1/tenants", `{"id":"ten_b","name":"B","hostnames":["b.example"],"home_region":"eu-west"}`)
	if w := checkRegions(t, c, first); len(w.Tenants) != 2 {
		t.Errorf("got %d tenants, want 2", len(w.Tenants))
	}
	if r := run(t, "status", "--data-dir", dir); r.code != 0 {
		t.Errorf("the first dev is not found any more: exit code %d: %s", r.code, r.stderr)
	}
	first.stop()
}

func TestDev_OnAStoreOfANewerVersion_SaysSoAndLeavesItAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := start(t, dir, "--import", roster)
	before := readTruth(t, newClient(t), d.Admin)
	d.stop()
	format := filepath.Join(dir, "store", "FORMAT")
	ours, err := os.ReadFile(format)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(ours), "format 1", "format 99", 1)
	if newer == string(ours) {
		t.Fatalf("the store's format file says %q", ours)
	}
	write("store/FORMAT", newer)(t, dir)
	was := digests(t, dir)

	refuses(t, devArgs(dir), "newer version")

	for path, sum := range digests(t, dir) {
		if was[path] != sum {
			t.Errorf("%s has changed", path)
		}
	}
	write("store/FORMAT", string(ours))(t, dir)
	d = start(t, dir)
	if after := checkRegions(t, newClient(t), d); after.Head() != before.Head() {
		t.Errorf("got position %d, want %d as before", after.Head(), before.Head())
	}
	d.stop()
}

func TestDev_WithAPortInUse_SaysWhichAndHowToChooseAnother_AndLosesNothing(t *testing.T) {
	t.Parallel()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	dir := t.TempDir()
	c := newClient(t)
	d := start(t, dir, "--import", roster)
	before := readTruth(t, c, d.Admin)
	d.stop()
	for flag, args := range map[string][]string{
		"--listen":       devArgs(dir, "--listen", taken),
		"--region":       {"dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--region", "eu-west=127.0.0.1:0", "--region", "us-east=" + taken},
		"--kafka-listen": devArgs(dir, "--kafka-listen", taken),
	} {
		refuses(t, args, taken, flag)
	}
	d = start(t, dir)
	if after := checkRegions(t, c, d); after.Head() != before.Head() || after.StoreID != before.StoreID {
		t.Errorf("got position %d of store %s, want %d of %s as before", after.Head(), after.StoreID, before.Head(), before.StoreID)
	}
	d.stop()
}

func TestDev_WhereItMayNotWrite_SaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, devArgs(filepath.Join(file, "data")), "data directory")
	// A region whose place is taken by something else cannot keep its copy.
	whole := filepath.Join(dir, "data")
	start(t, whole).stop()
	if err := os.RemoveAll(filepath.Join(whole, "regions", "us-east")); err != nil {
		t.Fatal(err)
	}
	write("regions/us-east", "not a directory")(t, whole)
	refuses(t, devArgs(whole), "us-east")
	// A store that is gone, where what was made from it is there, is a disk that is not mounted.
	if err := errors.Join(os.Remove(filepath.Join(whole, "regions", "us-east")), os.Rename(filepath.Join(whole, "store"), filepath.Join(whole, "away"))); err != nil {
		t.Fatal(err)
	}
	refuses(t, devArgs(whole), "store is missing")
	// Another program's directory is not taken over.
	foreign := filepath.Join(dir, "foreign")
	if err := os.MkdirAll(filepath.Join(foreign, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("store/somebodys.db", "x")(t, foreign)
	refuses(t, devArgs(foreign), "somebodys.db")
	// A roster that is not there is found out before anything is made.
	fresh := filepath.Join(dir, "fresh")
	refuses(t, devArgs(fresh, "--import", filepath.Join(dir, "none.ndjson")), "none.ndjson")
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a dev with a wrong --import has made its data directory")
	}
}

// refuses runs a dev that cannot start, and expects one line that holds all phrases and exit code 1.
func refuses(t *testing.T, args []string, phrases ...string) {
	t.Helper()
	r := run(t, args...)
	told := notLogged(r.stderr)
	if r.code != 1 || len(told) != 1 || !strings.HasPrefix(told[0], "tenantry: ") {
		t.Errorf("tenantry %v: exit code %d, want 1 and one line:\n%s", args, r.code, strings.Join(told, "\n"))
		return
	}
	for _, p := range phrases {
		if !strings.Contains(told[0], p) {
			t.Errorf("tenantry %v: got %q, want %q in it", args, told[0], p)
		}
	}
	if r.stdout != "" {
		t.Errorf("tenantry %v: printed %q, and did not start", args, r.stdout)
	}
	if strings.Contains(r.stderr, "level=ERROR") {
		t.Errorf("tenantry %v: logged errors besides:\n%s", args, r.stderr)
	}
}

// digests are the contents of all files below a directory.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
