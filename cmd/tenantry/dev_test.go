package main

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/daemon"
)

func TestDev_ImportsIsFoundByTheOthersAndStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	roster := file(t, "roster.ndjson", input)
	var stdout, stderr output
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{
			"dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--region", "eu-west=127.0.0.1:0,us-east=127.0.0.1:0", "--region", "ap-south=127.0.0.1:0",
			"--import", roster, "--log-format", "json",
		}, strings.NewReader(""), &stdout, &stderr)
	}()
	late := time.After(time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if _, err := os.Stat(filepath.Join(dir, daemon.AddressFile)); err == nil {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case code := <-ended:
			t.Fatalf("dev ended with %d: %s", code, stderr.String())
		case <-late:
			t.Fatal("dev is not ready")
		}
	}
	tenantry(t, "lookup", "acme.example", "--data-dir", dir).exits(exitDone).prints("ten_acme")
	tenantry(t, "status", "--data-dir", dir).exits(exitDone).prints("ap-south", "eu-west", "us-east")
	a, err := daemon.ReadAddresses(dir)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := httpClient.Get(a.Admin + "/readyz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	httpClient.CloseIdleConnections()
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("dev ended with %d: %s", code, stderr.String())
	}
	r := ran{t, []string{"dev"}, 0, stdout.String(), stderr.String()}
	r.prints("imported "+roster+": 6 lines: 4 created, 0 unchanged, 1 conflict, 1 invalid", "Tenantry is ready", a.Admin+"/docs",
		a.Regions["ap-south"], a.Regions["eu-west"], a.Regions["us-east"], a.Kafka[0], dir)
	r.exits(0, "line 4: invalid: ten_bad", `"level":"INFO"`)
	if _, err := os.Stat(filepath.Join(dir, daemon.AddressFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address file is left: %v", err)
	}
	// Who asks for a dev that has stopped is told so.
	tenantry(t, "status", "--data-dir", dir).exits(exitFailed, "no dev is running on "+dir)
}

func TestDev_WhoseImportDoesNotExist_MakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	tenantry(t, "dev", "--data-dir", dir, "--import", dir+".ndjson").exits(exitFailed, dir+".ndjson")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
}

func TestDev_WhoseImportIsADirectory_MakesNothingAndSaysSo(t *testing.T) {
	dir, roster := filepath.Join(t.TempDir(), "data"), t.TempDir()
	tenantry(t, "dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--region", "a=127.0.0.1:0", "--import", roster).
		exits(exitFailed, "tenantry: --import: "+roster+" is a directory: name a file of NDJSON\n")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
}

func TestDev_StoppedBeforeItBegins_IsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tenantryWith(ctx, t, "", "dev", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--region", "a=127.0.0.1:0").exits(exitDone)
}

func TestDev_ThatOtherMachinesCanReach_WarnsOnceThatNothingAuthenticates(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing listens there
	const warning = "nothing authenticates who asks: keep both APIs on a private network"
	for _, c := range []struct {
		listen, region, open string
	}{
		{":0", "127.0.0.1:0", "listen=:0"},
		{"0.0.0.0:0", "127.0.0.1:0", "listen=0.0.0.0:0"},
		{"127.0.0.1:0", "[::]:0", "listen=[::]:0"},
		{"192.0.2.1:0", "tenants.example:0", `listen="192.0.2.1:0, tenants.example:0"`},
	} {
		r := tenantryWith(ctx, t, "", "dev", "--data-dir", t.TempDir(), "--listen", c.listen, "--region", "a="+c.region).exits(exitDone, warning, c.open)
		if n := strings.Count(r.stderr, warning); n != 1 {
			t.Errorf("%+v: warned %d times:\n%s", c, n, r.stderr)
		}
	}
	for _, loopback := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0"} {
		r := tenantryWith(ctx, t, "", "dev", "--data-dir", t.TempDir(), "--listen", loopback, "--region", "a="+loopback)
		if strings.Contains(r.stderr, warning) {
			t.Errorf("%s: got\n%s", loopback, r.stderr)
		}
	}
}

func TestDev_WhoseRegionFails_EndsAndSaysWhy(t *testing.T) {
	d, dir := openDev(t)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "regions", "a"), "not a directory")
	tenantry(t, "dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--region", "a=127.0.0.1:0", "--kafka-partitions", "3", "--log-level", "error").
		exits(exitFailed, "tenantry: region a: ")
}
