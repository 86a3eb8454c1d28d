package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/daemon"
)

// An import through the API of all that `tenantry dev` runs, two regions that follow included.
// It is over when the last line is answered; until-visible counts until both regions held it.
func BenchmarkImport_WhileTwoRegionsFollow(b *testing.B) {
	var m meter
	var trailing time.Duration
	for b.Loop() {
		b.StopTimer()
		dev := must(daemon.OpenDev(b.Context(), daemon.DevConfig{
			DataDir: b.TempDir(), Listen: "127.0.0.1:0", KafkaListen: "127.0.0.1:0", Kafka: daemon.Kafka{Topic: topic, Partitions: partitions},
			Regions:  []daemon.RegionAddress{{Name: "eu-west", Listen: "127.0.0.1:0"}, {Name: "us-east", Listen: "127.0.0.1:0"}},
			Observed: daemon.Observed{Logger: silent},
		}))(b)
		if err := dev.AwaitReady(b.Context()); err != nil {
			b.Fatal(err)
		}
		lines := roster(tenants())
		var answered time.Time
		m.during(b, func() uint64 {
			importLines(b, dev.Addresses().Admin, lines)
			answered = time.Now()
			return must(dev.Store().Head(b.Context()))(b).Position
		})
		if err := dev.AwaitReady(b.Context()); err != nil { // holds what the store holds now
			b.Fatal(err)
		}
		trailing += time.Since(answered)
		closeWith(b, dev.Close)
		b.StartTimer()
	}
	m.report(b)
	b.ReportMetric(float64(m.events)/(b.Elapsed()+trailing).Seconds(), "events/s-until-visible")
}

// roster is so many tenants as lines of an import: seven events each.
func roster(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"ten_bench-%d","name":"Bench Company %d","hostnames":["bench-%d.example"],"home_region":"eu-west",`+
			`"products":{"boards":{"plan":"standard","seats":%d,"features":["audit","sso"]},"wiki":{"plan":"free","seats":5}},`+
			`"config":{"theme":{"colour":"teal","logo":"https://assets.example/logo.svg"},"locale":"en-GB"},"status":"active"}`+"\n",
			i, i, i, i%500+1)
	}
	return b.Bytes()
}

// importLines sends an import, and sees to it that every line was created.
func importLines(tb testing.TB, admin string, lines []byte) {
	tb.Helper()
	req := must(http.NewRequestWithContext(tb.Context(), http.MethodPost, admin+"/v1/import", bytes.NewReader(lines)))(tb)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp := must(http.DefaultClient.Do(req))(tb)
	defer resp.Body.Close()
	answers := string(must(io.ReadAll(resp.Body))(tb))
	if got, want := strings.Count(answers, `"created"`), bytes.Count(lines, []byte("\n")); got != want {
		first, _, _ := strings.Cut(answers, "\n")
		tb.Fatalf("%s: %d of %d lines were created; the first answer is %s", resp.Status, got, want, first)
	}
}
