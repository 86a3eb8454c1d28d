package events_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// go test ./events -run TestGolden -write-missing-goldens writes the golden file of a type that has
// none yet. It never writes one that is there: events are for ever.
var writeMissing = flag.Bool("write-missing-goldens", false, "write the golden files of types that have none")

// sample is what a golden file holds: the least that a payload can say, and all of it.
type sample struct{ minimal, full events.Payload }

// samples are the payloads that the golden files encode, as the current version has them. A new
// version of a payload changes what its older types decode to here, and adds its own type.
func samples() map[events.Type]sample {
	tenant, database, group := "golden", must(events.ParseDatabaseID("db_golden-1")), must(events.ParseGroupID("grp_golden"))
	host, idn := must(events.ParseHostname("golden.example")), must(events.ParseHostname("größte.example"))
	none, seats, most := int64(0), int64(25), int64(1<<63-1)
	trial := time.Date(2027, 1, 31, 23, 59, 59, 999999000, time.UTC)
	least := events.Product{Plan: "a"}
	endpoint := events.Endpoint{Host: "db", Port: 1, SecretRef: "env://A"}
	whole := events.Endpoint{Host: "2001:db8::7", Port: 65535, SecretRef: "vault://kv/data/tenantry/eu-1#credentials"}
	name := "Größte Übung № 1 — 株式会社 \"Ω\" \\ </script> مؤسسة 🏢"

	return map[events.Type]sample{
		events.TypeTenantRegistered:       {events.TenantRegistered{Name: "A", HomeRegion: "e"}, events.TenantRegistered{Name: name, HomeRegion: "eu-west", Group: group}},
		events.TypeTenantActivated:        {events.TenantActivated{}, events.TenantActivated{}},
		events.TypeTenantRenamed:          {events.TenantRenamed{Name: "A"}, events.TenantRenamed{Name: name}},
		events.TypeTenantSuspended:        {events.TenantSuspended{}, events.TenantSuspended{}},
		events.TypeTenantResumed:          {events.TenantResumed{}, events.TenantResumed{}},
		events.TypeTenantDeactivated:      {events.TenantDeactivated{}, events.TenantDeactivated{}},
		events.TypeTenantRestored:         {events.TenantRestored{}, events.TenantRestored{}},
		events.TypeTenantPurged:           {events.TenantPurged{}, events.TenantPurged{}},
		events.TypeHostnameAttached:       {events.HostnameAttached{Hostname: host}, events.HostnameAttached{Hostname: idn}},
		events.TypeHostnameDetached:       {events.HostnameDetached{Hostname: host}, events.HostnameDetached{Hostname: idn}},
		events.TypePrimaryHostnameChanged: {events.PrimaryHostnameChanged{Hostname: host}, events.PrimaryHostnameChanged{Hostname: idn}},
		events.TypeProductActivated: {
			events.ProductActivated{Name: "j", Product: least},
			events.ProductActivated{Name: "jira.cloud_1-a", Product: events.Product{Plan: "Enterprise-2.0", Seats: &most, Features: []string{"roadmaps", "ß/<&>"}, TrialUntil: &trial}},
		},
		events.TypeProductChanged: {
			events.ProductChanged{Name: "j", Product: events.Product{Plan: "a", Seats: &none}},
			events.ProductChanged{Name: "jira.cloud_1-a", Product: events.Product{Plan: "Enterprise-2.0", Seats: &seats, Features: []string{"roadmaps"}, TrialUntil: &trial}},
		},
		events.TypeProductDeactivated: {events.ProductDeactivated{Name: "j"}, events.ProductDeactivated{Name: "jira.cloud_1-a"}},
		events.TypeDatabaseAssigned:   {events.DatabaseAssigned{Database: database, Name: "a"}, events.DatabaseAssigned{Database: database, Name: tenant + "_prod"}},
		events.TypeHomeRegionChanged:  {events.HomeRegionChanged{HomeRegion: "e"}, events.HomeRegionChanged{HomeRegion: "us-east"}},
		events.TypeTenantGroupChanged: {events.TenantGroupChanged{}, events.TenantGroupChanged{Group: group}},
		events.TypeConfigSet: {
			events.ConfigSet{Key: "k", Value: jsontext.Value(`null`)},
			events.ConfigSet{Key: "Limits.uploads_per-day", Value: jsontext.Value(`{"z":[1,-2.50,1e3,true,null,""],"a":{"ü":"\u0000 </script>"}}`)},
		},
		events.TypeConfigUnset: {events.ConfigUnset{Key: "k"}, events.ConfigUnset{Key: "Limits.uploads_per-day"}},
		events.TypeDatabaseRegistered: {
			events.DatabaseRegistered{Engine: "p", Region: "e", Endpoint: endpoint},
			events.DatabaseRegistered{Engine: "postgres-17", Region: "eu-west", Endpoint: whole, Capacity: 500},
		},
		events.TypeDatabaseEndpointChanged: {events.DatabaseEndpointChanged{Endpoint: endpoint}, events.DatabaseEndpointChanged{Endpoint: whole}},
		events.TypeDatabaseDraining:        {events.DatabaseDraining{}, events.DatabaseDraining{}},
		events.TypeDatabaseRetired:         {events.DatabaseRetired{}, events.DatabaseRetired{}},
		events.TypeGroupCreated:            {events.GroupCreated{Name: "A"}, events.GroupCreated{Name: name, Ring: 1000}},
		events.TypeGroupChanged:            {events.GroupChanged{Name: "A"}, events.GroupChanged{Name: name, Ring: 1000}},
		events.TypeGroupRetired:            {events.GroupRetired{}, events.GroupRetired{}},
	}
}

const (
	goldenDir = "../schemas/golden"
	sumsFile  = "SHA256SUMS"
)

func TestGolden_EveryReleasedPayloadDecodesAsItDidAndEncodesToTheSameBytes(t *testing.T) {
	all := samples()
	if *writeMissing {
		writeMissingGoldens(t, all)
	}
	for _, typ := range slices.Sorted(slices.Values(events.Types())) {
		if _, ok := all[typ]; !ok {
			t.Errorf("%s has no sample here", typ)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(all)) {
		text, err := os.ReadFile(filepath.Join(goldenDir, string(typ)+".json"))
		if err != nil {
			t.Errorf("%s has no golden encoding (go test ./events -run TestGolden -write-missing-goldens writes it): %v", typ, err)
			continue
		}
		var variants map[string]jsontext.Value
		if err := json.Unmarshal(text, &variants); err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(variants)); !slices.Equal(got, []string{"full", "minimal"}) {
			t.Errorf("%s: got the variants %q, want full and minimal", typ, got)
		}
		for name, want := range map[string]events.Payload{"minimal": all[typ].minimal, "full": all[typ].full} {
			data := variants[name]
			schematest.Payload(t, string(typ), data)
			got, err := events.Event{Type: typ, Data: data}.Payload()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %#v, %v, want %#v", typ, name, got, err, want)
				continue
			}
			if got.EventType() != typ {
				continue // an older version: it is written as the current one
			}
			if again, err := events.Encode(got); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%s, %s: got %s, %v, want the same bytes: %s", typ, name, again, err, data)
			}
		}
	}
}

// A golden file that is edited would prove nothing of what was released. Its sum would have to be
// edited as well, which no one does by accident.
func TestGolden_NoFileWasEverEdited(t *testing.T) {
	sums := readSums(t)
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if got := sumOf(text); got != sums[name] {
			t.Errorf("%s: got the sum %s, want %q as in %s: add a new version instead", name, got, sums[name], sumsFile)
		}
		delete(sums, name)
	}
	for name := range sums {
		t.Errorf("%s is in %s and not here: a released encoding is kept for ever", name, sumsFile)
	}
}

func TestSchemas_EveryTypeHasOneAndEveryOneATypeAndAGolden(t *testing.T) {
	types := make(map[string]bool)
	for _, typ := range events.Types() {
		types[string(typ)] = true
	}
	for _, dir := range []string{"events", "golden"} {
		found := make(map[string]bool)
		entries, err := fs.ReadDir(schemas.Files(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
				found[name] = true
			}
		}
		for typ := range types {
			if !found[typ] {
				t.Errorf("%s has no file in schemas/%s", typ, dir)
			}
		}
		for name := range found {
			// An older version is no longer written, and still read.
			e := events.Event{Type: events.Type(name), Data: jsontext.Value(`{}`)}
			if _, err := e.Payload(); errors.Is(err, events.ErrUnknownType) {
				t.Errorf("schemas/%s has %s, which is not read", dir, name)
			}
		}
	}
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// readSums reads the sums in the form of sha256sum: the sum, two spaces, the name.
func readSums(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir, sumsFile))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("%s: cannot read the line %q", sumsFile, line)
		}
		sums[name] = sum
	}
	return sums
}

func writeMissingGoldens(t *testing.T, all map[events.Type]sample) {
	t.Helper()
	sums, err := os.OpenFile(filepath.Join(goldenDir, sumsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	for _, typ := range slices.Sorted(maps.Keys(all)) {
		var text bytes.Buffer
		text.WriteString("{\n")
		for i, v := range []struct {
			name    string
			payload events.Payload
		}{{"minimal", all[typ].minimal}, {"full", all[typ].full}} {
			data, err := events.Encode(v.payload)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "  %q: %s%s\n", v.name, data, []string{",", ""}[i])
		}
		text.WriteString("}\n")
		name := string(typ) + ".json"
		file, err := os.OpenFile(filepath.Join(goldenDir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(sums, "%s  %s\n", sumOf(text.Bytes()), name); err != nil {
			t.Fatal(err)
		}
		t.Logf("wrote %s", name)
	}
}
