package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/events"
)

// Config is what a Handler needs besides its store.
type Config struct {
	// HomeRegions are the regions that a tenant's home may be in; none: any.
	HomeRegions []string
	Clock       func() time.Time      // nil: time.Now
	Logger      *slog.Logger          // nil: nowhere
	Registerer  prometheus.Registerer // nil: metrics are counted and not exposed
}

// Request is a command and how to carry it out.
type Request struct {
	Command Command
	// IfMatch, where not nil, is the version that the stream must be at. Where it is nil, the
	// command is decided against the newest version, and again if that moved on.
	IfMatch *uint64
	// Key, where not nil, makes the command happen once however often it is sent. The
	// caller makes the fingerprint, of all that makes two commands the same. A refusal is not
	// remembered.
	Key *events.Key
	// Meta has Actor, Reason and the IDs of the request. Time and IdempotencyKey are filled in.
	Meta events.Metadata
	// DryRun does all the checks, the store's too, and appends nothing.
	DryRun bool
}

// Answer is what a command did. Of a dry run the new events' positions are 0.
type Answer struct {
	events.Outcome
	// Unchanged: all was already so, and nothing was appended; Version and Position are the
	// stream's.
	Unchanged bool
}

// Handler carries out commands. It is safe for any number of goroutines.
type Handler struct {
	store       events.Store
	folds       folds
	homeRegions []string
	clock       func() time.Time
	log         *slog.Logger
	metrics     *metrics
}

// NewHandler is a handler on this store. It panics where the Registerer has another
// handler's metrics already.
func NewHandler(store events.Store, cfg Config) *Handler {
	h := &Handler{store: store, folds: newFolds(store), homeRegions: cfg.HomeRegions, clock: cfg.Clock, log: cfg.Logger, metrics: newMetrics(cfg.Registerer)}
	if h.clock == nil {
		h.clock = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// A command is decided so often before it is given up. With the pauses between, twenty
// others that want the same stream at the same time all get through.
const (
	maxAttempts = 16
	firstPause  = time.Millisecond
	longPause   = 64 * time.Millisecond
)

// Do carries out one command. The error is a [*Refusal], or the store's.
func (h *Handler) Do(ctx context.Context, r Request) (Answer, error) {
	began := time.Now()
	a, err := h.once(ctx, r)
	h.metrics.command(r, a, err, time.Since(began))
	return a, err
}

// once answers from the idempotency key, or carries the command out.
func (h *Handler) once(ctx context.Context, r Request) (Answer, error) {
	if err := checkRequest(r); err != nil {
		return Answer{}, err
	}
	if a, found, err := h.recall(ctx, r); found || err != nil {
		return a, err
	}
	if err := Check(r.Command); err != nil {
		return Answer{}, err
	}
	a, err := h.carryOut(ctx, r)
	if CodeOf(err) != "" {
		// The same command, sent twice at once, may have been carried out since we asked: it is
		// the reason that we refuse, and its answer is the one to give.
		if a, found, again := h.recall(ctx, r); found || again != nil {
			return a, again
		}
	}
	return a, err
}

// recall is the answer that the request's idempotency key has already.
func (h *Handler) recall(ctx context.Context, r Request) (Answer, bool, error) {
	if r.Key == nil {
		return Answer{}, false, nil
	}
	outcome, found, err := h.store.Recall(ctx, *r.Key)
	switch {
	case errors.Is(err, events.ErrKeyReused):
		return Answer{}, false, keyReused()
	case err != nil:
		return Answer{}, false, fmt.Errorf("recall the idempotency key: %w", err)
	case !found:
		return Answer{}, false, nil
	}
	outcome.Replayed = true
	return Answer{Outcome: outcome, Unchanged: len(outcome.Events) == 0}, true, nil
}

// carryOut attempts the command until no one else was faster.
func (h *Handler) carryOut(ctx context.Context, r Request) (Answer, error) {
	// What a command founds is nearly never there, and where it is the store says so: that is not asked before. A
	// refusal holds for what is there, so that it is decided again on that.
	if _, founds := r.Command.(founder); founds && r.IfMatch == nil {
		a, err := h.attempt(ctx, r, state{id: r.Command.Target()})
		if CodeOf(err) == "" && !errors.Is(err, events.ErrConflict) {
			return a, err
		}
	}
	for attempt := range maxAttempts {
		if attempt > 0 {
			h.metrics.conflicts.Inc()
			if err := pause(ctx, attempt); err != nil {
				return Answer{}, fmt.Errorf("%s of %s: %w", r.Command.name(), r.Command.Target(), err)
			}
		}
		s, err := h.folds.load(ctx, r.Command.Target())
		if err != nil {
			return Answer{}, err
		}
		a, err := h.attempt(ctx, r, s)
		// Also with If-Match: it may be the database or group that has moved on. Where it is
		// the stream, the next attempt says so.
		if !errors.Is(err, events.ErrConflict) {
			return a, err
		}
	}
	h.log.WarnContext(ctx, "a command lost every race for its stream", "command", r.Command.name(), "stream", r.Command.Target().String(), "attempts", maxAttempts)
	return Answer{}, fmt.Errorf("%s of %s: others changed the same %d times: %w", r.Command.name(), r.Command.Target(), maxAttempts, events.ErrUnavailable)
}

// pause lets those that collided go on at different times.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(rand.N(min(firstPause<<attempt, longPause)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// attempt decides on a state and appends, once.
func (h *Handler) attempt(ctx context.Context, r Request, s state) (Answer, error) {
	c := r.Command
	f, err := h.factsFor(ctx, c)
	if err != nil {
		return Answer{}, err
	}
	if err := checkVersion(r, s); err != nil {
		return Answer{}, err
	}
	payloads, err := decide(c, s, f)
	if err != nil {
		return Answer{}, err
	}
	if len(payloads) == 0 && r.Key == nil {
		return Answer{Outcome: events.Outcome{Stream: s.id, Version: s.version(), Position: s.position()}, Unchanged: true}, nil
	}
	if r.Key != nil {
		r.Meta.IdempotencyKey = r.Key.Key
	}
	b, _, err := h.batch(s, f, r.Meta, payloads)
	if err != nil {
		return Answer{}, fmt.Errorf("%s of %s: %w", c.name(), s.id, err)
	}
	b.Key, b.DryRun = r.Key, r.DryRun
	outcome, err := h.store.Append(ctx, b)
	if err != nil {
		return Answer{}, refused(c, err)
	}
	return Answer{Outcome: outcome, Unchanged: len(outcome.Events) == 0}, nil
}

// batch is what appends payloads to s, and s after that.
func (h *Handler) batch(s state, f facts, meta events.Metadata, payloads []events.Payload) (events.Batch, state, error) {
	meta.Time = h.clock()
	if last := s.updated(); meta.Time.Before(last) {
		meta.Time = last // the clock was set back, or is another machine's
	}
	news, err := events.New(s.id, s.version(), meta, payloads...)
	if err != nil {
		return events.Batch{}, s, err
	}
	after, err := s.apply(news)
	if err != nil {
		return events.Batch{}, s, err
	}
	e, err := effectsOf(s, after, f)
	if err != nil {
		return events.Batch{}, s, err
	}
	return events.Batch{
		Stream: s.id, Expected: s.version(), Events: news,
		Take: e.take, Release: e.release,
		Refer: e.refer, Unrefer: e.unrefer, Unreferred: e.unreferred,
	}, after, nil
}

func (h *Handler) factsFor(ctx context.Context, c Command) (facts, error) {
	f := facts{homeRegions: h.homeRegions}
	for _, id := range refersTo(c) {
		s, err := h.folds.load(ctx, id)
		if err != nil {
			return f, err
		}
		if f.others == nil {
			f.others = make(map[events.StreamID]state, 2)
		}
		f.others[id] = s
	}
	return f, nil
}

// checkVersion is If-Match. A stream that is not there has no version to match, and decide
// says better what is wrong.
func checkVersion(r Request, s state) error {
	if r.IfMatch == nil || s.version() == *r.IfMatch || s.version() == 0 {
		return nil
	}
	return &Refusal{Code: VersionMismatch, Stream: s.id, Version: s.version(), Detail: fmt.Sprintf(
		"%s is at version %d, not %d: read it again, and decide anew", s.id, s.version(), *r.IfMatch)}
}

// checkRequest checks what goes with every command.
func checkRequest(r Request) error {
	var f faults
	f.metadata(r.Meta)
	if r.Key != nil {
		if fault := textFault(r.Key.Key, maxIdempotencyKey); fault != "" {
			f.add("", "the idempotency key %s", fault)
		}
	}
	return f.refusal()
}

func (f *faults) metadata(m events.Metadata) {
	for _, note := range []struct {
		pointer jsontext.Pointer
		what, s string
	}{
		{"", "actor", m.Actor}, {"/reason", "reason", m.Reason}, {"", "correlation ID", m.CorrelationID},
		{"", "causation ID", m.CausationID}, {"", "traceparent", m.Traceparent},
	} {
		if note.s != "" {
			f.text(note.pointer, note.what, note.s, maxNote)
		}
	}
}

// refused is the store's error as a refusal, where it is one.
func refused(c Command, err error) error {
	if claimed, ok := errors.AsType[*events.ClaimedError](err); ok {
		r := &Refusal{Code: HostnameTaken, Hostname: claimed.Hostname, Holder: claimed.Holder, Detail: fmt.Sprintf(
			"the hostname %s is held by %s: detach it there first, or choose another", claimed.Hostname, claimed.Holder)}
		if c, ok := c.(claimer); ok {
			r.Fields = []FieldError{{Pointer: c.pointerTo(claimed.Hostname), Detail: r.Detail}}
		}
		return r
	}
	if referred, ok := errors.AsType[*events.ReferenceError](err); ok {
		if errors.Is(err, events.ErrReferenced) {
			return &Refusal{Code: StillReferenced, Stream: referred.Stream, Detail: fmt.Sprintf(
				"%s still has %s: move them to another %s first", referred.Stream, countTenants(referred.Count), referred.Stream.Kind())}
		}
		r := refuseField(Full, "/"+string(referred.Stream.Kind()), fmt.Sprintf(
			"%s has %s and takes no more: choose another %s", referred.Stream, countTenants(referred.Count), referred.Stream.Kind()))
		r.Stream = referred.Stream
		return r
	}
	if errors.Is(err, events.ErrKeyReused) {
		return keyReused()
	}
	return fmt.Errorf("%s of %s: %w", c.name(), c.Target(), err)
}

func countTenants(n int) string {
	if n == 1 {
		return "1 tenant"
	}
	return fmt.Sprintf("%d tenants", n)
}

func keyReused() *Refusal {
	return &Refusal{Code: KeyReused, Detail: "the idempotency key was used for another command: make a new key for each command"}
}
