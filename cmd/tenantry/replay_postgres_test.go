package main

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/internal/testservers"
)

func TestReplay_FromADatabase_AndFromOneThatDoesNotLetItRead(t *testing.T) {
	database := testservers.Database(t)
	dir := t.TempDir()
	d, err := daemon.OpenDev(t.Context(), daemon.DevConfig{
		DataDir: dir, Listen: "127.0.0.1:0", KafkaListen: "127.0.0.1:0", Kafka: daemon.Kafka{Topic: "tenantry.events.v1", Partitions: 3},
		Regions: []daemon.RegionAddress{{Name: "eu-west", Listen: "127.0.0.1:0"}}, Database: daemon.Database{URL: database, MaxConns: defaultConns},
		Observed: daemon.Observed{Logger: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ready(t, d)
	tenantryWith(t.Context(), t, `{"id":"ten_a","name":"A","hostnames":["a.example"],"home_region":"eu-west"}`, "import", "-", "--admin", d.Addresses().Admin).exits(exitDone)
	ready(t, d)

	args := func(source string, more ...string) []string {
		return append([]string{"replay", "--region", "eu-west", "--data-dir", dir, "--source", source}, more...)
	}
	tenantry(t, args(database, "--verify", "--log-level", "error")...).exits(exitDone).prints("eu-west is equal to the source: 1 tenant in 2 entries")
	tenantry(t, args(database, "--log-level", "error")...).exits(exitDone).prints("rebuilt as gen-0002", "the node (pid ")

	stranger, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	stranger.User = url.UserPassword("nobody", "hunter2")
	for _, mode := range [][]string{nil, {"--verify"}, {"--repair"}} {
		r := tenantry(t, args(stranger.String(), mode...)...).exits(exitFailed, "nobody")
		if r.hides("hunter2"); strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: got more than one line: %s", mode, r.stderr)
		}
	}
	r := tenantry(t, args(testservers.Database(t))...).exits(exitFailed, "tenantry migrate")
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("a database without a schema: got more than one line: %s", r.stderr)
	}
	if now, err := regionOfDev(dir, "eu-west").Current(); now != "gen-0002" || err != nil {
		t.Errorf("the live generation is %s, %v", now, err)
	}
}
