package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/problem"
)

var (
	// ErrProtocol says that an answer is not a catalogue's, or breaks its contract. Retrying does
	// not help: check the address, and what stands between.
	ErrProtocol = errors.New("the answer is not that of a catalogue")
	// ErrRefused says that the catalogue does not let this caller read. Retry with another token.
	ErrRefused = errors.New("the catalogue refuses")
)

// Error is a catalogue's answer other than 200. It is an [ErrRefused], or an
// [events.ErrUnavailable], where it says so.
type Error struct {
	Status  int
	Problem problem.Problem // zero where the answer was no problem

	store uuid.UUID // whose answer it is; zero: it does not say
}

func (e *Error) Error() string {
	if e.Problem.Title == "" {
		return fmt.Sprintf("the catalogue answers %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Problem.Type == problem.Base+"no-such-route" { // whoever asked has chosen the address, and not the path
		return fmt.Sprintf("no catalogue answers at this address (%d: %s): is it that of a node's query API? Give that of the catalogue's admin API", e.Status, e.Problem.Title)
	}
	return fmt.Sprintf("the catalogue answers %d: %s", e.Status, e.Problem.Error())
}

// Is sorts by status.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrRefused
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == events.ErrUnavailable
	}
	return false
}

const (
	ndjson = "application/x-ndjson"
	plain  = "application/json"

	tries      = 4
	firstPause = 100 * time.Millisecond // before the second try; then twice as long each time
	longest    = 2 * time.Second        // that a Retry-After is heeded
	maxProblem = 64 << 10               // octets of a problem that are read
)

// ask sends a GET and has the answer read, while its context lasts. It asks again where that may
// help; read must not have used anything of an answer that it returns a passing error of.
func (l *Log) ask(ctx context.Context, path string, query url.Values, accept string, read func(*http.Response) error) error {
	pause := firstPause
	for try := 1; ; try++ {
		after, err := l.askOnce(ctx, path, query, accept, read)
		if err == nil || try == tries || ctx.Err() != nil || !errors.Is(err, events.ErrUnavailable) {
			return err
		}
		// Spread out, since all nodes lose a catalogue at the same time.
		wait := max(min(after, longest), pause/2+rand.N(pause))
		pause *= 2
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func (l *Log) askOnce(ctx context.Context, path string, query url.Values, accept string, read func(*http.Response) error) (retryAfter time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := *l.base
	u.Path += path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", accept)
	if l.token != nil {
		token, err := l.token(ctx)
		if err != nil {
			return 0, fmt.Errorf("token for the catalogue: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return 0, l.away(ctx, err)
	}
	defer res.Body.Close()
	res.Body = newWatched(res.Body, l.silence, cancel)
	if res.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0 where it is none
		return time.Duration(seconds) * time.Second, errorOf(res)
	}
	err = read(res)
	if broken, ok := errors.AsType[*brokenError](err); ok {
		return 0, l.away(ctx, broken.error)
	}
	return 0, err
}

// away is an error of the connection as what callers branch on.
func (l *Log) away(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = cause
	} else if cause != nil {
		return fmt.Errorf("read the catalogue %s: %w", l.base.Host, cause) // the caller's own end
	}
	return fmt.Errorf("read the catalogue %s: %w: %w", l.base.Host, events.ErrUnavailable, err)
}

// errorOf reads the problem that an answer is.
func errorOf(res *http.Response) error {
	e := &Error{Status: res.StatusCode, store: storeOf(res.Header)}
	if res.StatusCode < http.StatusBadRequest {
		return fmt.Errorf("%w: give the address that it is to be reached at: %w", ErrProtocol, e)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err == nil && res.Header.Get("Content-Type") == problem.ContentType {
		if err := json.Unmarshal(b, &e.Problem); err != nil {
			e.Problem = problem.Problem{}
		}
	}
	return e
}

// brokenError is an answer that could not be read to its end.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// errSilent says that a catalogue that was sending has stopped to.
var errSilent = errors.New("it sends nothing any more")

// watched is a body that ends its request when nothing comes.
type watched struct {
	io.ReadCloser
	timer   *time.Timer
	silence time.Duration
}

func newWatched(body io.ReadCloser, silence time.Duration, cancel context.CancelCauseFunc) *watched {
	w := &watched{ReadCloser: body, silence: silence, timer: time.AfterFunc(silence, func() { cancel(errSilent) })}
	w.timer.Stop() // it runs only while something is waited for
	return w
}

func (w *watched) Read(b []byte) (int, error) {
	w.timer.Reset(w.silence)
	defer w.timer.Stop()
	return w.ReadCloser.Read(b)
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.ReadCloser.Close()
}
