package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// gathered is the relay's metrics by name, and by name{label value}.
func gathered(t tester, r *Relay) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(r.metrics); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "tenantry_relay_")
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[name] = m.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			default:
				out[name] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func countFailures(t tester, r *Relay, cause string) int {
	t.Helper()
	return int(gathered(t, r)["failures_total{"+cause+"}"])
}

func TestRelay_BrokerTakesNothing_LagGrowsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, topic := newMemoryStore(), newMemoryTopic(2)
		away := make(chan struct{})
		topic.judge = func(int, int, []kafka.Record) fate { <-away; return fine }
		r := running(t, Config{Store: store, Topic: topic, Partitions: 2})
		synctest.Wait()
		time.Sleep(time.Second)
		store.append(streams(t, 10)...)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := r.Status()
		if got.State != StateStalled || got.Lag != 10 || got.Head != 10 || got.Published != 0 || got.Age != time.Minute || !got.Leading {
			t.Errorf("Status = %+v, want stalled with a lag of 10 events and a minute", got)
		}
		if want := "kafka has not answered for 1m1s"; got.Error != want {
			t.Errorf("Status.Error = %q, want %q", got.Error, want)
		}
		if m := gathered(t, r); m["lag_events"] != 10 || m["lag_seconds"] != 60 || m["publishing"] != 0 {
			t.Errorf("lag_events, lag_seconds, publishing = %v, %v, %v, want 10, 60, 0", m["lag_events"], m["lag_seconds"], m["publishing"])
		}
		close(away)
		synctest.Wait()
		if got := r.Status(); got.State != StatePublishing || got.Lag != 0 || got.Published != 10 || got.Age != 0 || got.Error != "" {
			t.Errorf("Status = %+v, want publishing without a lag", got)
		}
		if m := gathered(t, r); m["lag_events"] != 0 || m["lag_seconds"] != 0 || m["publishing"] != 1 || m["published_position"] != 10 || m["events_published_total"] != 10 {
			t.Errorf("metrics = %v", m)
		}
	})
}

// The store's log grows while the relay is so far behind that it reads nothing any more.
func TestRelay_TooFarBehindToRead_TheHeadIsStillLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, topic := newMemoryStore(), newMemoryTopic(1)
		away := make(chan struct{})
		topic.judge = func(int, int, []kafka.Record) fate { <-away; return fine }
		for range 3 * pendingBytes / recordOverhead / 100 {
			store.append(streams(t, 100)...)
		}
		r := running(t, Config{Store: store, Topic: topic, Partitions: 1})
		synctest.Wait()
		if read := r.status.current.read.Load(); read == 0 || read*recordOverhead > pendingBytes {
			t.Errorf("%d events were read while none was taken, want some, and at most %d bytes of them", read, pendingBytes)
		}
		end := store.append(streams(t, 100)...)
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if got := r.Status(); got.Head != end || got.Lag != end {
			t.Errorf("Status = %+v, want head and lag %d", got, end)
		}
		close(away)
		synctest.Wait()
		if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
			t.Error(err)
		}
	})
}

func TestRelay_StoreAwayAndBack_OneLineEachAndNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 3
		var logged lines
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		store.append(streams(t, 10)...)
		r := running(t, Config{Store: store, Topic: topic, Partitions: partitions, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		synctest.Wait()
		store.setAway(fmt.Errorf("dial: %w", events.ErrUnavailable))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.Status(); got.State != StateFailing || !strings.Contains(got.Error, events.ErrUnavailable.Error()) {
			t.Errorf("Status = %+v, want failing, with the store's error", got)
		}
		failures := countFailures(t, r, causeStore)
		if failures < 60/5 || failures > 60/2 {
			t.Errorf("the relay tried %d times in a minute, want about once each 4 s", failures)
		}
		store.setAway(nil)
		end := store.append(streams(t, 10)...)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := r.Status(); got.State != StatePublishing || got.Published != end {
			t.Errorf("Status = %+v, want publishing, and position %d published", got, end)
		}
		if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
			t.Error(err)
		}
		want := []string{"relay publishes", "relay cannot publish, and tries again until it can", "relay publishes again"}
		if got := logged.messages(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("logged %q, want %q", got, want)
		}
	})
}

// What is unpublished when the broker refuses it ages on between the tries, and what is
// appended meanwhile counts, also where nothing was unpublished when the outage began.
func TestRelay_BrokerRefusesEverything_LagGrowsBetweenTheTries(t *testing.T) {
	for _, c := range []struct {
		before int
		gone   bool
	}{{0, false}, {3, false}, {3, true}} {
		before := c.before
		t.Run(fmt.Sprintf("%d events published before, topic gone %t", before, c.gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, topic := newMemoryStore(), newMemoryTopic(1)
				var refusing atomic.Bool
				refusing.Store(before == 0)
				topic.judge = func(int, int, []kafka.Record) fate {
					if refusing.Load() {
						return unsent
					}
					return fine
				}
				store.append(streams(t, before)...)
				r := running(t, Config{Store: store, Topic: topic, Partitions: 1})
				synctest.Wait()
				refusing.Store(true)
				topic.gone.Store(c.gone)
				time.Sleep(30 * time.Second)
				store.append(streams(t, 4)...)
				time.Sleep(30 * time.Second)
				store.append(streams(t, 2)...)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				got := r.Status()
				if got.State != StateFailing || got.Lag != 6 || got.Published != uint64(before) || !strings.Contains(got.Error, errFated.Error()) {
					t.Errorf("Status = %+v, want failing with a lag of 6 events behind %d", got, before)
				}
				if got.Age != time.Minute {
					t.Errorf("Status.Age = %s, want a minute", got.Age)
				}
				refusing.Store(false)
				topic.gone.Store(false)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got := r.Status(); got.State != StatePublishing || got.Lag != 0 || got.Age != 0 {
					t.Errorf("Status = %+v, want publishing without a lag", got)
				}
			})
		})
	}
}

func TestRelay_TopicNeverSeen_ClaimsNoLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		store.append(streams(t, 3)...)
		r := running(t, Config{Store: store, Topic: absentTopic{}, Partitions: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.Status(); got.State != StateFailing || got.Known || got.Lag != 0 || got.Head != 3 {
			t.Errorf("Status = %+v, want failing, not known, head 3", got)
		}
		m := gathered(t, r)
		if _, ok := m["lag_events"]; ok || m["publishing"] != 0 || m["head_position"] != 3 {
			t.Errorf("metrics = %v, want no lag, not publishing", m)
		}
	})
}

// absentTopic answers nothing, for as long as it is asked.
type absentTopic struct{}

func (absentTopic) Partitions(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
func (absentTopic) Last(context.Context, int, int64) (kafka.Record, bool, error) {
	return kafka.Record{}, false, errors.ErrUnsupported
}
func (absentTopic) First(context.Context, int) (kafka.Record, bool, error) {
	return kafka.Record{}, false, errors.ErrUnsupported
}
func (absentTopic) NewProducer(context.Context) (Producer, error) { return nil, errors.ErrUnsupported }

func TestRelay_TracedCommands_OneSpanABatch(t *testing.T) {
	const first, second = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	store, topic := newMemoryStore(), newMemoryTopic(1)
	store.append(streams(t, 5)...)
	store.log[1].Traceparent, store.log[2].Traceparent, store.log[4].Traceparent = first, first, second
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 1, TracerProvider: provider}).RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := spans.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans, want 1", len(ended))
	}
	if got, want := ended[0].Parent().TraceID().String(), first[3:35]; got != want {
		t.Errorf("the span's trace is %s, want the first command's, %s", got, want)
	}
	links := ended[0].Links()
	if len(links) != 1 || links[0].SpanContext.TraceID().String() != second[3:35] {
		t.Errorf("the span's links are %v, want one, to the second command", links)
	}
	for _, r := range topic.records()[0] {
		if got, err := parse(r); err != nil || got.Event.Position == 5 && !got.IsWatermark() && got.Event.Traceparent != second {
			t.Errorf("the record of position 5 has traceparent %q (%v), want %q", got.Event.Traceparent, err, second)
		}
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.b.String()) {
		_, message, _ := strings.Cut(line, "msg=")
		if quoted, ok := strings.CutPrefix(message, `"`); ok {
			message, _, _ = strings.Cut(quoted, `"`)
		} else {
			message, _, _ = strings.Cut(message, " ")
		}
		out = append(out, message)
	}
	return out
}
