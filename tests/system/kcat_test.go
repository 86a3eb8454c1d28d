package system

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

func TestKcat_ReadsTheTopicOfARunningDev_KeysHeadersAndJSON(t *testing.T) {
	t.Parallel()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatal("kcat is needed: install the package kcat")
		}
		t.Skip("kcat is not installed (the package kcat)")
	}
	d := start(t, t.TempDir())
	c := newClient(t)
	c.must("POST", d.Admin+"/v1/tenants", `{"id":"ten_acme","name":"Ünï","hostnames":["acme.example"],"home_region":"eu-west"}`,
		"Tenantry-Actor: ada", "Tenantry-Reason: a test", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	w := checkRegions(t, c, d)

	// One line a record: partition, key, headers, value. -e ends at the end of the topic.
	cmd := exec.CommandContext(t.Context(), kcat, "-C", "-b", d.Kafka[0], "-t", topic, "-o", "beginning", "-e", "-q",
		"-f", "%p\t%k\t%h\t%s\n")
	dieWithTests(cmd)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat: %v", err)
	}
	var got []string
	watermarks := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if len(fields) != 4 {
			t.Fatalf("kcat printed %q", line)
		}
		headers := make(map[string]string)
		for h := range strings.SplitSeq(fields[2], ",") {
			name, value, _ := strings.Cut(h, "=")
			headers[name] = value
		}
		if headers["ce_type"] == string(events.TypeWatermark) {
			watermarks++
			if fields[1] != "" || fields[3] != "" || headers["ce_position"] == "" {
				t.Errorf("a watermark has key %q, value %q and headers %v", fields[1], fields[3], headers)
			}
			continue
		}
		e := w.Events[len(got)]
		got = append(got, line)
		for name, want := range map[string]string{
			"ce_specversion": "1.0", "ce_id": e.ID.String(), "ce_type": string(e.Type), "ce_subject": "ten_acme", "ce_source": "/tenantry/" + w.StoreID,
			"ce_position": []string{"1", "2"}[e.Position-1], "ce_version": []string{"1", "2"}[e.Version-1], "ce_previous": []string{"0", "1"}[e.Position-1],
			"ce_storeid": w.StoreID, "ce_actor": "ada", "ce_reason": "a test", "content-type": "application/json",
		} {
			if headers[name] != want {
				t.Errorf("position %d: header %s is %q, want %q", e.Position, name, headers[name], want)
			}
		}
		if !strings.HasPrefix(headers["ce_traceparent"], "00-0af7651916cd43dd8448eb211c80319c-") {
			t.Errorf("position %d: header ce_traceparent is %q, want it of the command's trace", e.Position, headers["ce_traceparent"])
		}
		if fields[1] != "ten_acme" {
			t.Errorf("position %d: key %q, want the stream's ID", e.Position, fields[1])
		}
		var value jsontext.Value
		if err := json.Unmarshal([]byte(fields[3]), &value); err != nil || fields[3] != string(e.Data) {
			t.Errorf("position %d: value %s, want %s", e.Position, fields[3], e.Data)
		}
	}
	if len(got) != len(w.Events) || len(got) != 2 || watermarks == 0 {
		t.Errorf("kcat shows %d events and %d watermarks, want 2 and some:\n%s", len(got), watermarks, out)
	}
	d.stop()
}
