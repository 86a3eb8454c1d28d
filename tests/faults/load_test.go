//go:build unix

package faults

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	writers = 6
	// think is how long a writer waits after each command, so that the machine has time for the rest.
	think = 25 * time.Millisecond
	// again is how long a writer waits before it sends a command again.
	again = 20 * time.Millisecond
	// answerTime is how long a command may be sent again and again.
	answerTime = 3 * time.Minute
)

// load is the writers and the readers of a system, and what came of it all.
type load struct {
	t       *testing.T
	s       *system
	rand    *rand.Rand
	writers []*writer
	history history
	watch   watch
	began   time.Time
	failed  chan error // the first failure
	probes  int

	stopped chan struct{} // nil: nobody writes or reads
	working sync.WaitGroup
}

// startLoad founds what the writers write to, and starts them and the readers.
func startLoad(t *testing.T, s *system, r *rand.Rand) *load {
	t.Helper()
	l := &load{t: t, s: s, rand: r, failed: make(chan error, 1), began: time.Now()}
	for i, c := range found() {
		if _, err := l.carryOut(c, fmt.Sprintf("found-%d", i), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range writers {
		l.writers = append(l.writers, &writer{number: i, rand: child(r), seen: make(map[string]uint64)})
	}
	l.watch.versions = make(map[string]uint64)
	// What readers look up has to be there.
	if _, err := l.probe(); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		for i := range sharedTenants {
			if err := n.shows(1, fmt.Sprintf("ten_t%d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.resume()
	t.Cleanup(l.pause)
	return l
}

// resume starts writers and readers.
func (l *load) resume() {
	stopped := make(chan struct{})
	l.stopped = stopped
	for _, w := range l.writers {
		l.working.Go(func() { l.write(w, stopped) })
	}
	for _, n := range l.s.nodes {
		r := child(l.rand)
		l.working.Go(func() { l.read(n, r, stopped) })
	}
}

// pause ends the readers, and the writers once each has its answer.
func (l *load) pause() {
	if l.stopped == nil {
		return
	}
	close(l.stopped)
	l.stopped = nil
	l.working.Wait()
}

// fail keeps the first failure.
func (l *load) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// err is the first failure until now.
func (l *load) err() error {
	select {
	case err := <-l.failed:
		l.fail(err)
		return err
	default:
		return nil
	}
}

func (l *load) write(w *writer, stopped <-chan struct{}) {
	tick := time.NewTicker(think)
	defer tick.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-tick.C:
		}
		c := w.next()
		o, err := l.carryOut(c, fmt.Sprintf("w%d-%d", w.number, w.made), w.rand)
		if err != nil {
			l.fail(fmt.Errorf("writer %d: %w", w.number, err))
			return
		}
		if o.answer.Version > 0 {
			w.seen[c.stream] = o.answer.Version
		}
	}
}

// carryOut sends a command with one key until it is answered, each time to any catalogue, and keeps
// what was answered.
func (l *load) carryOut(c command, key string, r *rand.Rand) (outcome, error) {
	return l.carryOutAt(l.s.catalogues, c, key, r)
}

func (l *load) carryOutAt(catalogues []*server, c command, key string, r *rand.Rand) (outcome, error) {
	o := outcome{command: c, key: key, called: time.Since(l.began)}
	late := time.Now().Add(answerTime)
	for {
		o.tries++
		at := pick(r, catalogues)
		final, err := l.send(&o, at)
		if final {
			o.returned = time.Since(l.began)
			if err == nil {
				l.history.add(o)
			}
			return o, err
		}
		if time.Now().After(late) {
			return o, fmt.Errorf("%s %s with key %s is not answered after %s: %w", c.method, c.path, key, answerTime, err)
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-l.t.Context().Done():
			timer.Stop()
			return o, l.t.Context().Err()
		}
	}
}

// errBusy is an answer that says to send the command again.
var errBusy = errors.New("it is not answered")

// send sends a command once; final tells that this was its answer.
func (l *load) send(o *outcome, at *server) (final bool, err error) {
	req, err := http.NewRequestWithContext(l.t.Context(), o.method, at.url+o.path, strings.NewReader(o.body))
	if err != nil {
		return true, err
	}
	if o.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Idempotency-Key", o.key)
	req.Header.Set("Tenantry-Reason", o.key) // so that each event in the log says whose it is
	if o.ifMatch > 0 {
		req.Header.Set("If-Match", strconv.Quote(strconv.FormatUint(o.ifMatch, 10)))
	}
	began := time.Now()
	resp, err := l.s.writing.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	o.status = resp.StatusCode
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		l.history.unavailable(time.Since(began))
		if resp.Header.Get("Retry-After") == "" {
			return true, fmt.Errorf("503 without Retry-After from %s: %s", at.name, body)
		}
		return false, fmt.Errorf("%w: %s", errBusy, body)
	case resp.StatusCode >= 500:
		// Whether it was done is not known, which is what the key is for.
		l.history.unknown.Add(1)
		return false, fmt.Errorf("%w: %d %s", errBusy, resp.StatusCode, body)
	case resp.StatusCode < 300:
		if resp.Header.Get("Idempotency-Replayed") == "true" {
			o.replayed = true
		}
		o.token = resp.Header.Get("Tenantry-Token")
		return true, json.Unmarshal(body, &o.answer)
	}
	if err := json.Unmarshal(body, &o.problem); err != nil {
		return true, fmt.Errorf("%d %s: %w", resp.StatusCode, body, err)
	}
	switch o.problem.kind() {
	case "hostname-taken", "wrong-state", "version-mismatch", "not-found":
		return true, nil
	}
	return true, fmt.Errorf("%s %s with key %s, sent %d times, is refused: %d %s", o.method, o.path, o.key, o.tries, resp.StatusCode, body)
}

// probe sends a command, and returns how long it took until it was answered and every node shows it.
func (l *load) probe() (time.Duration, error) { return l.probeAt(l.s.catalogues...) }

// probeAt is probe, by some of the catalogues.
func (l *load) probeAt(catalogues ...*server) (time.Duration, error) {
	l.probes++
	began := time.Now()
	key := fmt.Sprintf("probe-%d", l.probes)
	r := rand.New(rand.NewPCG(uint64(l.probes), 2))
	c := command{method: "PUT", path: "/v1/tenants/ten_t0/config/probe", body: fmt.Sprintf(`{"value":%d}`, l.probes), stream: "ten_t0"}
	o, err := l.carryOutAt(catalogues, c, key, r)
	if err != nil {
		return 0, err
	}
	if o.status >= 300 {
		return 0, fmt.Errorf("the probe is refused: %d %+v", o.status, o.problem)
	}
	errs := make([]error, len(l.s.nodes))
	var asking sync.WaitGroup
	for i, n := range l.s.nodes {
		asking.Go(func() { errs[i] = n.shows(o.answer.Version, o.stream) })
	}
	asking.Wait()
	return time.Since(began), errors.Join(errs...)
}

// well returns once a command is answered and shown everywhere, and all that the load has seen until then is right.
func (l *load) well(t *testing.T, after string) {
	t.Helper()
	took, err := l.probe()
	if err == nil {
		err = l.err()
	}
	if err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
	t.Logf("well again %s after %s", took.Round(time.Millisecond), after)
}

// shows returns once a node shows a version of a tenant.
func (s *server) shows(version uint64, tenant string) error {
	last := ""
	err := await(patience, fmt.Sprintf("%s shows version %d of %s", s.name, version, tenant), func() bool {
		last = s.ask(fmt.Sprintf("/v1/tenants/%s?min_version=%d&wait=2s", tenant, version))
		return last == ""
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, last)
	}
	return nil
}

// answer is what a command is answered when it is done.
type answer struct {
	ID       string `json:"id"`
	Version  uint64 `json:"version"`
	Position uint64 `json:"position"`
	Events   []struct {
		Type     string `json:"type"`
		Version  uint64 `json:"version"`
		Position uint64 `json:"position"`
	} `json:"events"`
	Unchanged bool `json:"unchanged"`
}

// problem is an RFC 9457 answer.
type problem struct {
	Type           string `json:"type"`
	Detail         string `json:"detail"`
	Hostname       string `json:"hostname"`
	Holder         string `json:"holder"`
	CurrentVersion uint64 `json:"current_version"`
}

func (p problem) kind() string { return p.Type[strings.LastIndexByte(p.Type, '/')+1:] }

// outcome is a command and its answer.
type outcome struct {
	command
	key              string
	called, returned time.Duration // since the load began
	tries            int
	status           int
	answer           answer
	problem          problem
	token            string
	replayed         bool
}

func (o *outcome) done() bool { return o.status < 300 }

// history is all outcomes.
type history struct {
	mu      sync.Mutex
	all     []outcome     // since the last check
	checked uint64        // the log's end at the last check
	slowest time.Duration // 503
	refused int
	unknown atomic.Int64
}

func (h *history) add(o outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, o)
}

// unavailable is told of a 503.
func (h *history) unavailable(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused++
	h.slowest = max(h.slowest, took)
}

// round is what was added since the last round.
func (h *history) round() []outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	round := h.all
	h.all = nil
	return round
}
