package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"
	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/replay"
)

// aDev is a running dev with some tenants.
func aDev(t *testing.T, tenants int) (*daemon.Dev, string) {
	t.Helper()
	d, dir := openDev(t)
	var lines strings.Builder
	for i := range tenants {
		fmt.Fprintf(&lines, `{"id":"ten_%d","name":"Tenant %d","hostnames":["t%d.example"],"home_region":"eu-west"}`+"\n", i, i, i)
	}
	tenantryWith(t.Context(), t, lines.String(), "import", "-", "--data-dir", dir).exits(exitDone)
	ready(t, d)
	return d, dir
}

func regionOfDev(dir, region string) readmodel.Dir {
	return readmodel.Dir(filepath.Join(dir, "regions", region))
}

// spoil changes a stopped region's copy behind its back.
func spoil(t *testing.T, dir readmodel.Dir, fn func(*badger.Txn) error) {
	t.Helper()
	name, err := dir.Current()
	if err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(dir.Path(name)).WithLogger(nil).WithCompression(compression.None).WithMemTableSize(5 << 20).WithValueThreshold(700 << 10))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestReplay_OfARunningDev_FindsTheSourceAndTheNode_AndRebuildsWhileItServes(t *testing.T) {
	d, dir := aDev(t, 30)
	args := func(more ...string) []string {
		return append([]string{"replay", "--region", "us-east", "--data-dir", dir}, more...)
	}
	tenantry(t, args("--verify")...).exits(exitDone).prints("us-east is equal to the source: 30 tenants")
	tenantry(t, args()...).exits(exitDone).prints("us-east: rebuilt as gen-0002 at position 60", "30 tenants, 30 hostnames", fmt.Sprintf("the node (pid %d) answers from it", os.Getpid()), "gen-0001, which it replaces, held the same\n", "gen-0001 is kept")
	if got := body(t, d.Addresses().Regions["us-east"]+"/v1/status"); !strings.Contains(got, `"generation":"gen-0002"`) {
		t.Errorf("after the rebuild the node says %s", got)
	}
	body(t, d.Addresses().Regions["us-east"]+"/v1/lookup/t7.example")
	tenantry(t, args("--verify", "--output", "json")...).exits(exitDone).prints(`"equal": true`, `"generation": "gen-0002"`, `"differences": []`)
	tenantry(t, args("--verify", "--quick")...).exits(exitDone).prints("us-east is equal to the source: 30 tenants")
	tenantry(t, args("--repair")...).exits(exitDone).prints("nothing was to be mended")
	tenantry(t, args("--dry-run")...).exits(exitDone).prints("a rebuild would add 0, change 0 and remove 0: 30 tenants")
	tenantry(t, args("--tenant", "ten_7")...).exits(exitDone).prints("nothing was to be mended: ten_7, at position 60")
	tenantry(t, args("--tenant", "ten_nobody")...).exits(exitFailed, "there is no tenant ten_nobody: neither the source nor region us-east has ever had it")
	tenantry(t, args("--output", "json")...).exits(exitDone).prints(`"generation": "gen-0003"`, `"added": 0`, `"took_ms"`)
}

func TestReplay_OfAStoppedDev_ReadsItsStore_NamesWhatDiffers_AndMendsIt(t *testing.T) {
	d, dir := aDev(t, 30)
	post(t, d.Addresses().Admin+"/v1/tenants/ten_9/deactivate")
	if status := del(t, d.Addresses().Admin+"/v1/tenants/ten_9"); status != http.StatusOK {
		t.Fatalf("purge: %d", status)
	}
	ready(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	region := regionOfDev(dir, "eu-west")
	spoil(t, region, func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_3")), txn.Delete([]byte("h/t5.example")), txn.Delete([]byte("t/ten_9")), txn.Set([]byte("h/x.example"), append([]byte{3}, "ten_never"...)))
	})
	args := func(more ...string) []string {
		return append([]string{"replay", "--region", "eu-west", "--data-dir", dir}, more...)
	}
	r := tenantry(t, args("--verify")...).exits(exitDiffers, "region eu-west differs from the source: --repair in place of --verify mends just that")
	r.prints("ten_3 is missing\n", "ten_5 differs\n", "t5.example               answers nobody, and should answer ten_5", "ten_9 is missing", "ten_never is not in the source\n",
		"eu-west: 2 missing, 1 too much, 1 different, 2 hostnames answered wrongly; compared 30 tenants")
	var report struct {
		Equal       bool
		Missing     int
		Differences []replay.Difference
	}
	out := tenantry(t, args("--verify", "--output", "json")...).exits(exitDiffers, "differs").stdout
	if err := json.Unmarshal([]byte(out), &report, json.MatchCaseInsensitiveNames(true)); err != nil || report.Equal || report.Missing != 2 || len(report.Differences) != 4 {
		t.Errorf("got %+v, %v from %s", report, err, out)
	}
	tenantry(t, args("--dry-run")...).exits(exitDiffers, "a rebuild would change region eu-west\n").prints("would be added", "a rebuild would add 2, change 1 and remove 1")
	tenantry(t, args("--dry-run", "--max-change", "3%")...).exits(exitDiffers, "a rebuild of region eu-west would be refused: it takes away or alters 3.4% of what there is, more than --max-change 3%").prints("remove 1")
	tenantry(t, args("--dry-run", "--tenant", "ten_3")...).exits(exitDiffers, "a rebuild would change region eu-west\n").prints("ten_3 would be added")
	tenantry(t, args("--dry-run", "--max-change", "3%", "--output", "json")...).exits(exitDiffers, "would be refused").prints(`"refused": true`, `"added": 2`, `"hostnames_added": 1`, `"streams": 28`)
	tenantry(t, args("--max-change", "3%")...).exits(exitFailed, "the rebuild would change too much of what the region has", "--force goes on")
	tenantry(t, args("--tenant", "ten_9")...).exits(exitDone).prints("ten_9 was removed: it was purged")
	tenantry(t, args("--tenant", "ten_never")...).exits(exitDone).prints("ten_never was removed: the source has never had it")
	tenantry(t, args("--tenant", "ten_3", "--verify")...).exits(exitDiffers, "differs").prints("ten_3 is missing")
	tenantry(t, args("--repair")...).exits(exitDone).prints("ten_3 is missing", "mended 2, and what was mended is equal now")
	tenantry(t, args("--verify")...).exits(exitDone).prints("eu-west is equal")
	// One tenant's damage, mended alone, leaves nothing that is wrong.
	spoil(t, region, func(txn *badger.Txn) error { return txn.Set([]byte("t/ten_4"), []byte{1}) })
	tenantry(t, args("--tenant", "ten_4")...).exits(exitDone).prints("mended 1")
	tenantry(t, args("--verify")...).exits(exitDone).prints("eu-west is equal")

	spoil(t, region, func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_3")), txn.Set([]byte("t/ten_4"), []byte{1}), txn.Delete([]byte("h/t5.example")), txn.Set([]byte("h/x.example"), append([]byte{3}, "ten_6"...)))
	})
	tenantry(t, args()...).exits(exitDone).prints("rebuilt as gen-0002",
		"against gen-0001, which it replaces, tenants, databases and groups: 1 added, 1 changed; hostnames: 1 answered that were not, 1 answered otherwise or no more\n", "no node runs")
	tenantry(t, args("--rollback")...).exits(exitDone).prints("eu-west: back from gen-0002 to gen-0001; no node runs")
}

func TestReplay_OfARegionThatWasLost_BuildsItAnew(t *testing.T) {
	d, dir := aDev(t, 5)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "regions", "us-east")); err != nil {
		t.Fatal(err)
	}
	args := []string{"replay", "--region", "us-east", "--data-dir", dir}
	tenantry(t, append(args, "--verify")...).exits(exitFailed, "region us-east has no copy that could be compared or mended: rebuild it")
	tenantry(t, args...).exits(exitDone).prints("us-east: rebuilt as gen-0001", "5 tenants")
	tenantry(t, append(args, "--verify")...).exits(exitDone).prints("us-east is equal")
	// All of it is lost but what is remembered; and then a node's disk, with all that was on it.
	if err := os.RemoveAll(filepath.Join(dir, "regions")); err != nil {
		t.Fatal(err)
	}
	tenantry(t, args...).exits(exitDone).prints("us-east: rebuilt as gen-0001", "5 tenants")
	again, source := openDevOn(t, dir)
	elsewhere := []string{"replay", "--region", "us-east", "--data-dir", t.TempDir()}
	tenantry(t, elsewhere...).exits(exitFailed, "no region has ever run on", "--source")
	tenantry(t, append(elsewhere, "--source", "http://127.0.0.1:1")...).exits(exitFailed, "ask the source for its head")
	tenantry(t, elsewhere...).exits(exitFailed, "no region has ever run on")
	tenantry(t, append(elsewhere, "--source", source, "--kafka-partitions", "3")...).exits(exitDone).prints("us-east: rebuilt as gen-0001", "5 tenants")
	if got := body(t, again.Addresses().Regions["us-east"]+"/v1/status"); !strings.Contains(got, `"generation":"gen-0001"`) {
		t.Errorf("dev does not serve what the replay has built for it: %s", got)
	}
}

// What Badger says of a flipped bit is long, and nobody needs it twice.
func TestReplay_OfADamagedGeneration_SaysSoOnce_AndThatARebuildIsWhatHelps(t *testing.T) {
	d, dir := aDev(t, 5)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(regionOfDev(dir, "us-east").Path("gen-0001/*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, table := range tables {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 1
		if err := os.WriteFile(table, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	of := []string{"--region", "us-east", "--data-dir", dir}
	once := func(r ran) {
		t.Helper()
		if n := strings.Count(r.stderr, "checksum validation failed"); n != 1 {
			t.Errorf("tenantry %v: it is told %d times:\n%s", r.args, n, r.stderr)
		}
	}
	for _, mode := range []string{"--verify", "--repair", "--dry-run"} {
		once(tenantry(t, append([]string{"replay", mode}, of...)...).exits(exitFailed, "has no copy that could be compared or mended: rebuild it"))
	}
	once(tenantry(t, append([]string{"region", "snapshot", "--to", filepath.Join(t.TempDir(), "x")}, of...)...).exits(exitFailed, "region us-east has no copy that another could be made of: rebuild it with 'tenantry replay'"))
	once(tenantry(t, append([]string{"replay"}, of...)...).exits(exitDone, "the region's read model cannot be used").prints("us-east: rebuilt as gen-0002"))
}

func TestReplay_WhileADevIsStarting_SaysSo(t *testing.T) {
	d, dir := aDev(t, 1)
	if err := os.Remove(filepath.Join(dir, daemon.AddressFile)); err != nil { // as before it is ready
		t.Fatal(err)
	}
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", dir).exits(exitFailed, "a dev is starting or stopping on "+dir)
	if err := d.Announce(); err != nil {
		t.Fatal(err)
	}
}

func TestReplay_WithWhatItCannotDo_ExitsWithOneLine_AndTouchesNothing(t *testing.T) {
	d, dir := aDev(t, 5)
	other, otherDir := aDev(t, 3)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	args := func(more ...string) []string {
		return append([]string{"replay", "--region", "eu-west", "--data-dir", dir}, more...)
	}
	tenantry(t, args("--source", other.Addresses().Admin)...).exits(exitFailed, "the source is not the store that the region is a copy of", "give --force")
	tenantry(t, args("--source", "http://127.0.0.1:1")...).exits(exitFailed, "ask the source for its head")
	tenantry(t, args("--source", "http://127.0.0.1:1", "--verify")...).exits(exitFailed, "ask the source for its head")
	tenantry(t, args("--source", other.Addresses().Regions["eu-west"])...).exits(exitFailed, "no catalogue answers at this address", "is it that of a node's query API?")
	twoAddresses := tenantry(t, args("--source", "postgres://ada:hunter2@127.0.0.1:1,127.0.0.1:2/none")...).exits(exitFailed, "tenantry: ask the source for its head: ")
	if twoAddresses.hides("hunter2"); strings.Count(twoAddresses.stderr, "\n") != 1 {
		t.Errorf("got more than one line: %q", twoAddresses.stderr)
	}
	tenantry(t, "replay", "--region", "ap-south", "--data-dir", dir).exits(exitFailed, "no region ap-south in "+dir+": it has eu-west, us-east")
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", dir+"/nowhere").exits(exitFailed, "no data directory "+dir+"/nowhere")
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", filepath.Join(dir, "regions", "eu-west")).exits(exitFailed, "is the directory of one region: give --data-dir")
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", t.TempDir()).exits(exitFailed, "no region has ever run on")
	alone := t.TempDir()
	if err := os.CopyFS(filepath.Join(alone, "regions"), os.DirFS(filepath.Join(dir, "regions"))); err != nil {
		t.Fatal(err)
	}
	tenantry(t, "replay", "--region", "eu-west", "--data-dir", alone).exits(exitUsage, "where is the source of truth? No dev runs on", "--source")
	tenantry(t, args("--rollback")...).exits(exitFailed, "no generation to go back to: there is none before gen-0001")
	if now, err := regionOfDev(dir, "eu-west").Current(); now != "gen-0001" || err != nil {
		t.Errorf("the live generation is %s, %v", now, err)
	}
	for _, r := range []readmodel.Dir{regionOfDev(dir, "eu-west"), regionOfDev(otherDir, "eu-west")} {
		left, err := filepath.Glob(r.Path("gen-*"))
		if err != nil || len(left) != 1 {
			t.Errorf("left are %v, %v, want one generation", left, err)
		}
	}
}

func TestReplay_FlagsThatContradictOneAnother_AreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"":                                                              "--region is missing",
		"--region EU":                                                   "is not a region's name",
		"--region a --verify --repair":                                  "--verify does not go with --repair: it compares, and changes nothing",
		"--region a --dry-run --rollback":                               "--dry-run does not go with --rollback",
		"--region a --quick":                                            "a rebuild does not go with --quick: it builds a whole region anew; --quick is for --verify",
		"--region a --tenant ten_a --quick":                             "--tenant does not go with --quick: it is about one tenant alone",
		"--region a --verify --force":                                   "--verify does not go with --force: it compares, and changes nothing; --force is for a rebuild",
		"--region a --repair --max-change 5%":                           "--repair does not go with --max-change",
		"--region a --max-change 5":                                     `"5": it is not a percentage from 0% to 100%: is 5% meant?`,
		"--region a --max-change x":                                     "it is not a percentage from 0% to 100%, such as 5%",
		"--region a --max-change 101%":                                  "it is not a percentage from 0% to 100%",
		"--region a --tenant acme":                                      "it is not a tenant's ID",
		"--region a --tenant ten_a --rollback":                          "--rollback does not go with --tenant: it goes back with the whole region",
		"--region a --tenant ten_a --force":                             "--tenant does not go with --force: it is about one tenant alone",
		"--region a --tenant ten_a --dry-run --max-change 5%":           "--tenant does not go with --max-change",
		"--region a --tenant ten_a --verify --quick":                    "--tenant does not go with --quick",
		"--region a --tenant ten_a --kafka-partitions 3":                "--tenant does not go with --kafka-partitions",
		"--region a --rollback --source http://x":                       "--rollback does not go with --source: it goes back with the whole region to what is on disk, and reads no source",
		"--region a --rollback --force --kafka-partitions 3":            "--rollback does not go with --force and --kafka-partitions",
		"--region a --since 5":                                          "a rebuild does not go with --since: it builds a whole region anew; --since is for --topic",
		"--region a --verify --rate 5":                                  "--verify does not go with --rate: it compares, and changes nothing; --rate is for --topic",
		"--region a --source ftp://x":                                   "it is not a URL",
		"--region a b":                                                  "takes no arguments",
		"--topic --verify":                                              "--topic does not go with --verify: it publishes events, from the store of the catalogue that leads, and touches no region's copy",
		"--topic --dry-run --region a":                                  "--topic does not go with --dry-run and --region",
		"--topic --repair --rollback --quick --force --source http://x": "--topic does not go with --force, --quick, --repair, --rollback and --source",
		"--topic --tenant ten_a --max-change 5% --kafka-partitions 3 --since 5": "does not go with --kafka-partitions and --max-change",
	} {
		r := tenantry(t, append([]string{"replay", "--data-dir", t.TempDir()}, strings.Fields(args)...)...).exits(exitUsage, want)
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: got more than one line: %q", args, r.stderr)
		}
	}
}

// What the environment says for all commands is no contradiction to what one of them is told.
func TestReplay_SettingsOfTheEnvironment_ContradictNothing(t *testing.T) {
	d, dir := aDev(t, 3)
	t.Setenv("TENANTRY_REGION", "eu-west")
	t.Setenv("TENANTRY_SOURCE", d.Addresses().Admin)
	t.Setenv("TENANTRY_MAX_CHANGE", "5%")
	t.Setenv("TENANTRY_KAFKA_PARTITIONS", "3")
	t.Setenv("TENANTRY_DATA_DIR", dir)
	tenantry(t, "replay", "--topic", "--verify=false").exits(exitDone).prints("published again: 6 events")
	tenantry(t, "replay", "--verify", "--quick").exits(exitDone).prints("eu-west is equal to the source: 3 tenants")
	tenantry(t, "replay", "--tenant", "ten_1", "--source=").exits(exitDone).prints("nothing was to be mended: ten_1")
	tenantry(t, "replay", "--rollback").exits(exitFailed, "no generation to go back to")
}

func TestReplay_Stopped_SaysThatNothingWasChanged(t *testing.T) {
	_, dir := aDev(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tenantryWith(ctx, t, "", "replay", "--region", "eu-west", "--data-dir", dir).exits(exitFailed, "stopped: the region is as it was")
	left, err := filepath.Glob(regionOfDev(dir, "eu-west").Path("gen-*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestChangeText_SaysWhatARebuildHasChanged(t *testing.T) {
	for want, c := range map[string]replay.Change{
		"gen-0007, which it replaces, held the same\n": {Streams: 3},
		"gen-0007, which it replaces, held the same; 1,200 changed by events that came meanwhile, which is no difference\n":                                {Newer: 1200},
		"against gen-0007, which it replaces, hostnames: 4 answered otherwise or no more\n":                                                                {Hostnames: 4},
		"against gen-0007, which it replaces, tenants, databases and groups: 3 removed; 5 changed by events that came meanwhile, which is no difference\n": {Removed: 3, Newer: 5},
	} {
		if got := changeText("gen-0007", &c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMeter_TellsPlainLines_WithRateAndTimeLeft(t *testing.T) {
	var out output
	cmd := newRoot()
	cmd.SetErr(&out)
	m := newMeter(cmd)
	m.stage("build", 0, 1000)
	m.began, m.told = m.began.Add(-10*time.Second), m.told.Add(-10*time.Second)
	m.stage("build", 250, 1000)
	m.end()
	if got := out.String(); got != "build: 250 of 1,000 events, 25 a second, about 30s left\n" && got != "build: 250 of 1,000 events, 24 a second, about 30s left\n" {
		t.Errorf("got %q", got)
	}
}

// del purges, and is the status.
func del(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestIfNotAllowed_SaysAsWhomToRunIt(t *testing.T) {
	_, err := os.ReadFile("none")
	if got := ifNotAllowed(err); !errors.Is(got, err) || got.Error() != err.Error() {
		t.Errorf("a file that is not there: got %v", got)
	}
	got := ifNotAllowed(&os.PathError{Op: "open", Path: "regions/eu-west", Err: os.ErrPermission}).Error()
	if want := "open regions/eu-west: permission denied: run this as the user that the node, or dev, runs as"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
