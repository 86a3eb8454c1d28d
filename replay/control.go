package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// ErrSessionGone says that a node does not have the inspection any more: it was closed, idle for too
// long, or the node was started anew. Begin again.
var ErrSessionGone = errors.New("the node does not keep that moment of its copy any more")

const (
	maxSessions = 8 // moments of the copy that are kept at once: each holds back what could be cleaned up
	maxBody     = 64 << 20
	stopTime    = 3 * time.Second // for requests under way, when the node stops
)

// Control is what a node answers on its socket.
type Control struct {
	region Region
	log    *slog.Logger
	idle   time.Duration
	socket *socket
	http   *http.Server
	cancel context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	sessions map[string]*session
}

// session is a moment of the copy that is kept for a caller.
type session struct {
	Inspection
	busy  int
	timer *time.Timer // closes it when it is not busy
}

// Serve answers on the control socket in a region's directory for the node that has it, until
// Close. Only this user can connect. A socket that a node left when it was killed is replaced; where
// another node answers on it, that is an error.
func Serve(dir readmodel.Dir, region Region, log *slog.Logger) (*Control, error) {
	return serve(dir, region, log, sessionIdle)
}

func serve(dir readmodel.Dir, region Region, log *slog.Logger, idle time.Duration) (*Control, error) {
	s, err := listen(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Control{region: region, log: log, idle: idle, socket: s, cancel: cancel, ended: make(chan struct{}), sessions: make(map[string]*session)}
	c.http = &http.Server{
		Handler:           http.MaxBytesHandler(c.routes(), maxBody),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	c.http.BaseContext = func(net.Listener) context.Context { return ctx }
	go func() {
		defer close(c.ended)
		if err := c.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket ended: replay cannot reach this node", "err", err)
		}
	}()
	return c, nil
}

// Close ends what is under way, and removes the socket. What was adopted or mended stays so.
func (c *Control) Close() error {
	c.cancel() // what waits for Kafka would wait long
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := c.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = c.http.Close()
	}
	<-c.ended
	c.mu.Lock()
	left := c.sessions
	c.sessions = make(map[string]*session)
	c.mu.Unlock()
	for _, s := range left {
		s.timer.Stop()
		err = errors.Join(err, s.Inspection.Close())
	}
	return errors.Join(err, c.socket.close())
}

func (c *Control) routes() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, do func(http.ResponseWriter, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.answer(w, r, do) })
	}
	on("GET "+protocol+"/info", func(_ http.ResponseWriter, r *http.Request) (any, error) { return c.region.Info(r.Context()) })
	on("POST "+protocol+"/inspections", c.inspect)
	on("DELETE "+protocol+"/inspections/{id}", c.closeInspection)
	on("GET "+protocol+"/inspections/{id}", c.inSession(func(*session, http.ResponseWriter, *http.Request) (any, error) { return nil, nil }))
	on("POST "+protocol+"/inspections/{id}/scan", c.inSession(c.scan))
	on("GET "+protocol+"/inspections/{id}/record", c.inSession(record))
	on("GET "+protocol+"/inspections/{id}/quarantined", c.inSession(quarantined))
	on("POST "+protocol+"/inspections/{id}/entries", c.inSession(c.entries))
	on("POST "+protocol+"/inspections/{id}/copy", c.inSession(c.copy))
	on("POST "+protocol+"/inspections/{id}/recount", c.inSession(recount))
	on("POST "+protocol+"/repair", c.repair)
	on("POST "+protocol+"/recount", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return nil, c.region.Recount(r.Context())
	})
	on("POST "+protocol+"/adopt", c.adopt)
	on("POST "+protocol+"/rollback", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		name, err := c.region.Rollback(r.Context())
		return wireGeneration{name}, err
	})
	return mux
}

// answered says that a handler has written its answer by itself.
var errAnswered = errors.New("answered")

func (c *Control) answer(w http.ResponseWriter, r *http.Request, do func(http.ResponseWriter, *http.Request) (any, error)) {
	v, err := do(w, r)
	if errors.Is(err, errAnswered) {
		return
	}
	status := http.StatusOK
	if err != nil {
		v, status = toWire(err), statusOf(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.MarshalWrite(w, v); err != nil {
		c.log.Debug("answer on the control socket", "path", r.URL.Path, "err", err)
	}
}

func (c *Control) inspect(_ http.ResponseWriter, r *http.Request) (any, error) {
	in, err := c.region.Inspect(r.Context())
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	s := &session{Inspection: in}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= maxSessions {
		return nil, errors.Join(fmt.Errorf("%d comparisons of this node are under way: wait until one has ended", maxSessions), in.Close())
	}
	s.timer = time.AfterFunc(c.idle, func() { c.expire(id) })
	c.sessions[id] = s
	sums := in.Maintained()
	return wireInspection{ID: id, Progress: in.Progress(), Maintained: encodeSums(&sums), Idle: c.idle.Milliseconds()}, nil
}

// expire closes a session that nobody has asked for a while.
func (c *Control) expire(id string) {
	c.mu.Lock()
	s := c.sessions[id]
	if s == nil || s.busy > 0 {
		c.mu.Unlock()
		return
	}
	delete(c.sessions, id)
	c.mu.Unlock()
	if err := s.Inspection.Close(); err != nil {
		c.log.Warn("close a comparison that was given up", "err", err)
	}
}

func (c *Control) closeInspection(_ http.ResponseWriter, r *http.Request) (any, error) {
	c.mu.Lock()
	s := c.sessions[r.PathValue("id")]
	if s != nil && s.busy > 0 {
		s = nil // its caller is gone: it expires
	}
	if s != nil {
		delete(c.sessions, r.PathValue("id"))
		s.timer.Stop()
	}
	c.mu.Unlock()
	if s == nil {
		return nil, nil
	}
	return nil, s.Inspection.Close()
}

// inSession hands the session to a handler, and keeps it while that works.
func (c *Control) inSession(do func(*session, http.ResponseWriter, *http.Request) (any, error)) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		c.mu.Lock()
		s := c.sessions[r.PathValue("id")]
		if s != nil {
			s.busy++
			s.timer.Stop()
		}
		c.mu.Unlock()
		if s == nil {
			return nil, ErrSessionGone
		}
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if s.busy--; s.busy == 0 {
				s.timer.Reset(c.idle)
			}
		}()
		return do(s, w, r)
	}
}

func (c *Control) scan(s *session, _ http.ResponseWriter, r *http.Request) (any, error) {
	rate, err := strconv.Atoi(r.URL.Query().Get("rate"))
	if err != nil {
		return nil, fmt.Errorf("rate: %w", err)
	}
	got, err := s.Scan(r.Context(), rate)
	if err != nil {
		return nil, err
	}
	out := wireScanned{Sums: encodeSums(&got.Sums), Entries: got.Entries, Tenants: got.Tenants}
	for _, key := range got.Damaged {
		out.Damaged = append(out.Damaged, []byte(key))
	}
	return out, nil
}

func record(s *session, _ http.ResponseWriter, r *http.Request) (any, error) {
	value, err := s.Record(r.Context(), r.URL.Query().Get("key"))
	return struct {
		Value []byte `json:"value"`
		Found bool   `json:"found"`
	}{value, value != nil}, err
}

func recount(s *session, _ http.ResponseWriter, r *http.Request) (any, error) {
	return nil, s.Recount(r.Context())
}

func quarantined(s *session, _ http.ResponseWriter, r *http.Request) (any, error) {
	return s.Quarantined(r.Context())
}

func (c *Control) entries(s *session, w http.ResponseWriter, r *http.Request) (any, error) {
	var want struct {
		Buckets []byte `json:"buckets"`
	}
	if err := json.UnmarshalRead(r.Body, &want); err != nil {
		return nil, err
	}
	var set BucketSet
	if len(want.Buckets) != len(set) {
		return nil, fmt.Errorf("a set of %d octets, and not of %d", len(want.Buckets), len(set))
	}
	copy(set[:], want.Buckets)
	w.Header().Set("Content-Type", "application/octet-stream")
	out := bufio.NewWriterSize(w, 64<<10)
	err := s.Entries(r.Context(), &set, func(e Entry) error { return writeEntry(out, e.Key, e.Stream.String(), e.Digest) })
	why := ""
	if err != nil {
		why = err.Error()
	}
	if err := errors.Join(writeEntry(out, "", why, 0), out.Flush()); err != nil {
		c.log.Debug("tell entries on the control socket", "err", err)
	}
	return nil, errAnswered
}

func (c *Control) repair(_ http.ResponseWriter, r *http.Request) (any, error) {
	var want []wireRepair
	if err := json.UnmarshalRead(r.Body, &want); err != nil {
		return nil, err
	}
	repairs := make([]projections.Repair, len(want))
	for i, w := range want {
		repairs[i] = w.repair()
	}
	return toWireRepaired(c.region.Repair(r.Context(), repairs))
}

func (c *Control) adopt(_ http.ResponseWriter, r *http.Request) (any, error) {
	var want wireGeneration
	if err := json.UnmarshalRead(r.Body, &want); err != nil {
		return nil, err
	}
	c.log.Info("asked to adopt a generation", "generation", want.Generation)
	return want, c.region.Adopt(r.Context(), want.Generation)
}
