package queryapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// How long a request waits for a write.
const (
	defaultWait = 2 * time.Second
	maxWait     = 30 * time.Second
)

// wanted is what a request wants to be visible before it is answered.
type wanted struct {
	token    *events.Token // at_least
	position uint64        // min_position; 0: any
	version  uint64        // min_version, of the tenant found; 0: any
	wait     time.Duration
}

func (w wanted) nothing() bool { return w.token == nil && w.position == 0 && w.version == 0 }

// The parameters of a look-up.
var lookupParameters = []string{"at_least", "min_position", "min_version", "wait"}

// parseWanted reads the parameters of a look-up.
func parseWanted(rawQuery string) (wanted, error) {
	w := wanted{wait: defaultWait}
	query, err := parseQuery(rawQuery, lookupParameters...)
	if err != nil {
		return w, err
	}
	for _, name := range lookupParameters { // in this order, so that the same request gets the same answer
		if values := query[name]; len(values) > 0 {
			if err := w.set(name, values[0]); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// parseQuery reads parameters, each of which may be given once. One that is not known is refused:
// whoever misspells at_least would be answered, and not see what they wrote.
func parseQuery(rawQuery string, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, kindBadRequest.problem("the query string cannot be read: escape its parameters")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch given := len(query[name]); {
		case len(known) == 0:
			return nil, kindBadRequest.problem("there is no parameter %.40q here, nor any other: leave it out", name)
		case !slices.Contains(known, name):
			return nil, kindBadRequest.problem("there is no parameter %.40q here, only %s: correct its name or leave it out", name, strings.Join(known, ", "))
		case given > 1:
			return nil, kindBadRequest.problem("the parameter %s is given %d times: give it once", name, given)
		}
	}
	return query, nil
}

func (w *wanted) set(name, value string) (err error) {
	switch name {
	case "at_least":
		token, err := events.ParseToken(value)
		if err != nil {
			return kindBadRequest.problem("at_least is %.60q, which is %s", value, err)
		}
		w.token = &token
	case "min_position":
		w.position, err = number(name, value)
	case "min_version":
		w.version, err = number(name, value)
	case "wait":
		w.wait, err = time.ParseDuration(value)
		if err != nil || w.wait < 0 || w.wait > maxWait {
			return kindBadRequest.problem("wait is %.60q: give a duration from 0s to 30s, such as 500ms or 2s", value)
		}
	}
	return err
}

func number(name, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, kindBadRequest.problem("%s is %.60q: give a whole number, as an answer's headers name it", name, value)
	}
	return n, nil
}

// has tells whether the copy has what is wanted, save for a version. What it can never have is
// an error.
func (w wanted) has(p *readmodel.Progress) (bool, error) {
	if w.token == nil {
		return p.Position() >= w.position, nil
	}
	switch {
	case w.token.StoreID != p.StoreID:
		return false, kindOtherStore.problem("at_least names a write in store %s, and this copy is of store %s: the catalogue was restored, or the token comes from another one; ask without at_least and decide by what you get", w.token.StoreID, p.StoreID)
	case w.token.Partition >= len(p.Partitions):
		return false, kindOtherStore.problem("at_least names partition %d, and the topic that this copy follows has %d: the token comes from another catalogue; ask without at_least", w.token.Partition, len(p.Partitions))
	}
	return p.Partitions[w.token.Partition].Position >= w.token.Position && p.Position() >= w.position, nil
}

// lack says what the copy did not have when the time was over.
func (w wanted) lack(p *readmodel.Progress) string {
	if at := p.Position(); at < w.position {
		return fmt.Sprintf("position %d is not applied here yet, only %d", w.position, at)
	}
	if w.token != nil {
		if at := p.Partitions[w.token.Partition].Position; at < w.token.Position {
			return fmt.Sprintf("position %d is not applied here yet, only %d of its partition", w.token.Position, at)
		}
	}
	return fmt.Sprintf("version %d is not visible here yet", w.version)
}

// await calls look as soon as the copy has what is wanted, and again after each commit until it
// reports that it has found what it was looking for. It returns the stamp for the answer.
//
// No commit is missed: the channel is taken before the copy is looked at, so whatever is
// committed after the look closes that channel.
func (a *API) await(ctx context.Context, want wanted, look func() (bool, error)) (*stamp, error) {
	w := wait{api: a, limit: want.wait}
	defer w.end()
	for {
		changed := a.reader.Changed()
		s := a.stampAt(a.clock())
		has, err := want.has(s.progress)
		if err != nil {
			return s, err
		}
		if has {
			if found, err := look(); err != nil || found {
				w.done(waitVisible)
				return s, err
			}
		}
		err = w.on(ctx, changed)
		if errors.Is(err, errWaitOver) {
			err = kindNotYet.problem("%s, after waiting %s: ask again, or with a longer wait (at most %s)", want.lack(s.progress), want.wait, maxWait)
		}
		if err != nil {
			return s, err
		}
	}
}

// errWaitOver says that the time is over that the request gave.
var errWaitOver = errors.New("waited long enough")

// wait is one request's waiting, from the first time that it has to.
type wait struct {
	api   *API
	limit time.Duration
	timer *time.Timer
	began time.Time
	last  <-chan struct{} // what was waited on before
}

// on waits for the next commit.
func (w *wait) on(ctx context.Context, changed <-chan struct{}) error {
	// A closed model's channel stays closed, and waiting on it would spin. No model has none.
	if changed == nil || changed == w.last {
		w.done(waitBroken)
		return readmodel.ErrClosed
	}
	w.last = changed
	if w.timer == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	select {
	case <-changed:
		return nil
	case <-w.timer.C:
		w.done(waitTimeout)
		return errWaitOver
	case <-ctx.Done():
		w.done(waitBroken)
		return ctx.Err()
	}
}

func (w *wait) begin() error {
	if w.api.waiting.Add(1) > w.api.maxWaiting {
		w.api.waiting.Add(-1)
		w.api.metrics.waits[waitRefused].Inc()
		return kindTooManyWaiting.problem("%d requests are waiting for a write already, which is all this node takes: ask again in a moment, or without waiting", w.api.maxWaiting)
	}
	w.timer, w.began = time.NewTimer(w.limit), time.Now()
	return nil
}

// done counts how it went, if the request had to wait at all.
func (w *wait) done(r waitResult) {
	if w.timer == nil {
		return
	}
	w.api.metrics.waits[r].Inc()
	w.api.metrics.waitSeconds.Observe(time.Since(w.began).Seconds())
}

func (w *wait) end() {
	if w.timer != nil {
		w.timer.Stop()
		w.api.waiting.Add(-1)
	}
}
