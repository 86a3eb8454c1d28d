package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// replayedIn are how often each position was published again, over all partitions.
func replayedIn(t *testing.T, d *Dev) map[uint64]int {
	t.Helper()
	cluster, err := kafka.New(kafka.Config{Brokers: d.Addresses().Kafka, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	topic := d.cfg.Kafka.Topic
	held, err := cluster.Offsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[uint64]int)
	for partition, o := range held {
		for offset := o.First; offset < o.End; {
			records, _, err := cluster.Fetch(t.Context(), topic, partition, offset, time.Second, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range records {
				offset = raw.Offset + 1
				r, err := events.ParseRecord(func(name string) string { v, _ := raw.Header(name); return v }, raw.Value)
				if err != nil {
					t.Fatal(err)
				}
				if r.Replayed > 0 {
					out[r.Event.Position]++
				}
			}
		}
	}
	return out
}

func publishAgain(t *testing.T, d *Dev, body string) []string {
	t.Helper()
	status, answer, err := send(t.Context(), "POST", d.Addresses().Admin+"/v1/topic/replay", body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("replay %s: %d %v %s", body, status, err, answer)
	}
	return strings.Split(strings.TrimSpace(answer), "\n")
}

func wantLast(t *testing.T, lines []string, want string) {
	t.Helper()
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("got the last line %s, want %s", got, want)
	}
}

func TestDev_ReplayOfTheTopic_PublishesItAgain_AndRegionsGoOn(t *testing.T) {
	d := open(t, config(t.TempDir()))
	for i := range 10 {
		register(t, d, fmt.Sprintf("t%d", i)) // two events each
	}
	wantLast(t, publishAgain(t, d, ""), `{"from":1,"position":20,"up_to":20,"events":20,"done":true}`)
	for position := uint64(1); position <= 20; position++ {
		if n := replayedIn(t, d)[position]; n != 1 {
			t.Errorf("position %d was published again %d times, want once", position, n)
		}
	}
	wantLast(t, publishAgain(t, d, `{"since": 19}`), `{"from":19,"position":20,"up_to":20,"events":2,"done":true}`)
	wantLast(t, publishAgain(t, d, `{"tenant": "ten_t3", "rate": 1000}`), `{"from":1,"position":20,"up_to":20,"events":2,"done":true}`)
	wantLast(t, publishAgain(t, d, `{"since_time": "2100-01-01T00:00:00Z"}`), `{"from":21,"position":20,"up_to":20,"events":0,"done":true}`)
	register(t, d, "later")
	for name, url := range d.Addresses().Regions {
		status, body, err := send(t.Context(), "GET", url+"/v1/lookup/later.example?min_position=22", "")
		if err != nil || status != http.StatusOK {
			t.Errorf("look-up in %s after the replays: %d %v %s", name, status, err, body)
		}
		status, body, err = send(t.Context(), "GET", url+"/metrics", "")
		if err != nil || status != http.StatusOK {
			t.Fatalf("metrics of %s: %d %v", name, status, err)
		}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "tenantry_projection_gaps_total") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
				t.Errorf("%s found a gap where there is none: %s", name, line)
			}
		}
	}
}

func TestDev_ReplayBrokenOff_GoesOnWhereItWas_UnlessToldToBeginAnew(t *testing.T) {
	d := open(t, config(t.TempDir()))
	for i := range 10 {
		register(t, d, fmt.Sprintf("t%d", i))
	}
	again := &topicReplayer{store: d.store, relay: d.catalogue.relay, cluster: clusterOf(t, d), topic: d.cfg.Kafka.Topic, log: slog.New(slog.DiscardHandler)}
	killed := errors.New("killed")
	var at uint64
	_, err := again.run(t.Context(), adminapi.TopicReplay{Rate: 20}, func(p adminapi.TopicProgress) error {
		if at = p.Position; at > 0 {
			return killed
		}
		return nil
	})
	if !errors.Is(err, killed) || at == 0 || at >= 20 {
		t.Fatalf("the replay ended at %d with %v, want it killed half way", at, err)
	}
	// Another range is another replay, and takes nothing from this one: neither at its end, nor where it is broken off too.
	wantLast(t, publishAgain(t, d, `{"since": 3, "restart": true}`), `{"from":3,"position":20,"up_to":20,"events":18,"done":true}`)

	var of5 uint64
	if _, err := again.run(t.Context(), adminapi.TopicReplay{Since: 5, Rate: 20}, func(p adminapi.TopicProgress) error {
		if of5 = p.Position; of5 > 4 {
			return killed
		}
		return nil
	}); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	wantLast(t, publishAgain(t, d, ""), fmt.Sprintf(`{"from":%d,"position":20,"up_to":20,"events":%d,"resumed":true,"done":true}`, at+1, 20-at))
	wantLast(t, publishAgain(t, d, ""), `{"from":1,"position":20,"up_to":20,"events":20,"done":true}`) // it had come to its end
	wantLast(t, publishAgain(t, d, `{"since": 5}`), fmt.Sprintf(`{"from":%d,"position":20,"up_to":20,"events":%d,"resumed":true,"done":true}`, of5+1, 20-of5))
	for position := uint64(1); position <= 20; position++ {
		if replayedIn(t, d)[position] == 0 {
			t.Errorf("position %d was never published again", position)
		}
	}
}

// Whoever stops a replay was told how far it is, and is told the same by the next one, or more: never less.
func TestDev_ReplayStoppedBetweenTwoBookmarks_GoesOnBehindWhatWasTold(t *testing.T) {
	d := open(t, config(t.TempDir()))
	for i := range 40 {
		register(t, d, fmt.Sprintf("t%d", i))
	}
	again := &topicReplayer{store: d.store, relay: d.catalogue.relay, cluster: clusterOf(t, d), topic: d.cfg.Kafka.Topic, log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	var at uint64
	_, err := again.run(ctx, adminapi.TopicReplay{Rate: 100}, func(p adminapi.TopicProgress) error {
		if p.Position > 20 && at == 0 { // the second page: the bookmark is of the first
			at = p.Position
			stop()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || at == 0 || at >= 80 {
		t.Fatalf("the replay ended at %d with %v, want it stopped behind its second page", at, err)
	}
	var next struct{ From uint64 }
	if err := json.Unmarshal([]byte(publishAgain(t, d, "")[0]), &next, json.MatchCaseInsensitiveNames(true)); err != nil || next.From <= at {
		t.Errorf("it was told of position %d, and goes on at %d (%v)", at, next.From, err)
	}
}

// Whoever stops a replay, and begins it again at once, must neither be refused for the one that ends, nor go by what that
// has not noted yet.
func TestTopicReplayer_WhileTheOneBeforeEnds_WaitsForItALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(topicReplayer)
		r.one.Lock()
		time.AfterFunc(bookmarkTime/2, r.one.Unlock)
		if began := time.Now(); !r.turn(t.Context()) || time.Since(began) < bookmarkTime/2 {
			t.Errorf("got no turn, or before the other had ended: after %s", time.Since(began))
		}
		// It has it now.
		if began := time.Now(); r.turn(t.Context()) || time.Since(began) < bookmarkTime {
			t.Errorf("got a turn beside another that does not end, or gave up after %s", time.Since(began))
		}
		if _, err := r.run(t.Context(), adminapi.TopicReplay{}, nil); !errors.Is(err, adminapi.ErrReplaying) {
			t.Errorf("got %v, want ErrReplaying", err)
		}
	})
}

func clusterOf(t *testing.T, d *Dev) *kafka.Cluster {
	t.Helper()
	cluster, err := kafka.New(kafka.Config{Brokers: d.Addresses().Kafka, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	return cluster
}

// clocked is a log whose events happened at given minutes.
type clocked struct {
	events.Store
	minutes []int
}

func (c clocked) After(_ context.Context, position uint64, _ int) ([]events.Event, error) {
	if position >= uint64(len(c.minutes)) {
		return nil, nil
	}
	return []events.Event{{Position: position + 1, Time: time.Unix(int64(c.minutes[position])*60, 0)}}, nil
}

func TestPositionBefore_IsTheOneBeforeTheFirstEventOfTheTime(t *testing.T) {
	log := clocked{minutes: []int{1, 2, 2, 5, 5, 9}}
	for minute, want := range map[int]uint64{0: 0, 1: 0, 2: 1, 3: 3, 5: 3, 6: 5, 9: 5, 10: 6} {
		got, err := positionBefore(t.Context(), log, 6, time.Unix(int64(minute)*60, 0))
		if err != nil || got != want {
			t.Errorf("minute %d: got %d, %v, want %d", minute, got, err, want)
		}
	}
}

// A machine had a wrong clock for a while.
func TestPositionBefore_OfALogWhoseTimesGoBack_LeavesNothingOut(t *testing.T) {
	log := clocked{}
	for i := range 1000 {
		minute := 1000 + i
		if i >= 480 && i < 520 {
			minute -= 700
		}
		log.minutes = append(log.minutes, minute)
	}
	for i, minute := range log.minutes {
		at := time.Unix(int64(minute)*60, 0)
		got, err := positionBefore(t.Context(), log, uint64(len(log.minutes)), at)
		if err != nil || got > uint64(i) {
			t.Fatalf("since minute %d: begins behind position %d, %v, and leaves out the event at %d", minute, got, err, i+1)
		}
	}
}

func TestBookmark_OfADayBefore_OrOfAClockThatWasAhead_IsNotGoneOnWith(t *testing.T) {
	made := time.Unix(1_800_000_000, 0)
	for age, want := range map[time.Duration]bool{0: false, 23 * time.Hour: false, 25 * time.Hour: true, -time.Second: false, -time.Hour: true} {
		if got := (bookmark{At: made.Unix()}).tooOld(made.Add(age)); got != want {
			t.Errorf("after %s: too old %t, want %t", age, got, want)
		}
	}
}
