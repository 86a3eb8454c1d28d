package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRegionSnapshot_OfARunningDev_RestoresToARegionOfItsOwn(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	copied := filepath.Join(t.TempDir(), "eu-west.copy")
	tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", copied).exits(exitDone).prints("eu-west: copied at position ", " records, ", " octets\n")

	other := filepath.Join(t.TempDir(), "on", "another", "node") // as a region's node would make it
	restore := []string{"region", "restore", "--region", "eu-west", "--data-dir", other, "--from", copied}
	tenantry(t, append(restore, "--output", "json")...).exits(exitDone).prints(`"region": "eu-west"`, `"generation": "gen-0001"`, `"took_ms": `)
	if _, err := os.Stat(filepath.Join(other, "regions", "eu-west", "gen-0001")); err != nil {
		t.Error(err)
	}
	admin := d.Addresses().Admin
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", other, "--source", admin, "--verify").exits(exitDone).prints("equal")

	// What cannot be restored makes nothing.
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	tenantry(t, "region", "restore", "--region", "eu-west", "--data-dir", nowhere, "--from", copied+"x").exits(exitFailed, "no such file")
	tenantry(t, "region", "restore", "--region", "eu-west", "--data-dir", nowhere, "--from", os.Args[0]).exits(exitFailed, "restore "+os.Args[0])
	tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", nowhere, "--to", copied+"x").exits(exitFailed, "no data directory "+nowhere)
	whole, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	cut := file(t, "cut.copy", string(whole[:len(whole)-9]))
	tenantry(t, "region", "restore", "--region", "eu-west", "--data-dir", nowhere, "--from", cut).exits(exitFailed, "restore "+cut+": not a whole copy of a read model: it is cut short")
	if _, err := os.Stat(nowhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made: %v", nowhere, err)
	}

	// Refused, and then forced.
	tenantry(t, restore...).exits(exitFailed, "has a copy already", "--force")
	tenantry(t, append(restore, "--force")...).exits(exitDone).prints("restored as gen-0002")
	tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", copied).exits(exitFailed, "is there already", "--force")
	tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", copied, "--force").exits(exitDone)
	tenantry(t, "region", "restore", "--region", "us-east", "--data-dir", other, "--from", copied).exits(exitFailed, "the copy is of eu-west")

	// Under the node that runs, which adopts it.
	tenantry(t, "region", "restore", "--region", "us-east", "--data-dir", dir, "--from", copied, "--force").exits(exitDone).prints("the node (pid ")
	tenantry(t, "lookup", "acme.example", "--data-dir", dir).exits(exitDone)

	entries, err := os.ReadDir(filepath.Dir(copied))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the copy there is %v (%v)", entries, err)
	}
}

func TestRegionSnapshot_ThroughAPipe(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	written := tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", "-").exits(exitDone, "copied at position")
	other := t.TempDir()
	tenantryWith(t.Context(), t, written.stdout, "region", "restore", "--region", "eu-west", "--data-dir", other, "--from", "-").exits(exitDone).prints("restored as gen-0001")
	tenantry(t, "region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", "-", "--output", "json").exits(exitDone, `"took_ms": `)
	cut := written.stdout[:len(written.stdout)-9]
	tenantryWith(t.Context(), t, cut, "region", "restore", "--region", "eu-west", "--data-dir", t.TempDir(), "--from", "-").exits(exitFailed, "not a whole copy")
}

func TestRegionSnapshot_WrongUsage_SaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{exitUsage, []string{"snapshot", "--region", "eu-west", "--data-dir", dir}, "--to is missing: the file to write; - is standard output\n"},
		{exitUsage, []string{"snapshot", "--to", "x", "--data-dir", dir}, "--region is missing: the region's name; give it as a flag, as TENANTRY_REGION, or as a key"},
		{exitUsage, []string{"restore", "--region", "eu-west", "--data-dir", dir}, "--from"},
		{exitUsage, []string{"restore", "file"}, "takes no arguments"},
		{exitFailed, []string{"snapshot", "--region", "eu-west", "--data-dir", dir, "--to", filepath.Join(dir, "x")}, "is it the right --data-dir?"},
		{exitFailed, []string{"restore", "--region", "eu-west", "--data-dir", dir, "--from", filepath.Join(dir, "none")}, "no such file"},
		{exitFailed, []string{"restore", "--region", "eu-west", "--data-dir", dir, "--from", dir}, "is a directory"},
	} {
		tenantry(t, append([]string{"region"}, c.args...)...).exits(c.code, c.want)
	}
}

func TestRegionSnapshot_Stopped_LeavesNoFile(t *testing.T) {
	d, dir := openDev(t)
	ready(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := filepath.Join(t.TempDir(), "x")
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"region", "snapshot", "--region", "eu-west", "--data-dir", dir, "--to", to}, strings.NewReader(""), &stdout, &stderr); code != exitFailed {
		t.Errorf("got exit code %d: %s", code, stderr.String())
	}
	if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) != 0 {
		t.Errorf("left over: %v (%v)", entries, err)
	}
}
