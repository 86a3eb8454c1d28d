package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/problem"
)

// lastPosition is one that no log comes to, so that what is after it is nothing.
var lastPosition = strconv.FormatInt(math.MaxInt64, 10)

const (
	maxLine  = 32 << 20 // octets of one event; a catalogue takes far less
	pageSize = "200"    // events of a stream's history at a time
)

// headOf reads where the log ended when it was asked.
func (l *Log) headOf(res *http.Response) (events.Head, error) {
	position, err := strconv.ParseUint(res.Header.Get("Tenantry-Position"), 10, 64)
	if err != nil {
		return events.Head{}, fmt.Errorf("%w: it has no Tenantry-Position", ErrProtocol)
	}
	id, err := uuid.Parse(res.Header.Get(headerStoreID))
	if err != nil {
		return events.Head{}, fmt.Errorf("%w: it has no %s", ErrProtocol, headerStoreID)
	}
	l.store.Store(&id)
	return events.Head{Position: position, StoreID: id}, nil
}

const headerStoreID = "Tenantry-Store-Id"

// storeOf is whose an answer is; zero: it does not say.
func storeOf(header http.Header) uuid.UUID {
	id, err := uuid.Parse(header.Get(headerStoreID))
	if err != nil {
		return uuid.Nil
	}
	return id
}

// callerError is what a caller's function returned; it is passed through as it was.
type callerError struct{ error }

func (e *callerError) Unwrap() error { return e.error }

// lines calls each with up to limit events after a position, and says which was the last.
func (l *Log) lines(ctx context.Context, after, limit uint64, each func(events.Event) error) (last uint64, err error) {
	last = after
	query := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.FormatUint(limit, 10)}}
	err = l.ask(ctx, "/v1/events", query, ndjson, func(res *http.Response) error {
		head, err := l.headOf(res)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		for lines.Scan() {
			var e events.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				if broken := lines.Err(); broken != nil {
					return halfRead(last > after, broken)
				}
				return fmt.Errorf("%w: behind position %d: %w", ErrProtocol, last, err)
			}
			if e.Position != last+1 || e.Stream.IsZero() || e.Version == 0 {
				return fmt.Errorf("%w: behind position %d it has %q at position %d", ErrProtocol, last, e.Stream, e.Position)
			}
			if err := each(e); err != nil {
				return &callerError{err}
			}
			last = e.Position
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return fmt.Errorf("%w: the event behind position %d has more than %d octets", ErrProtocol, last, maxLine)
		case err != nil:
			return halfRead(last > after, err)
		case last < min(head.Position, after+limit):
			return halfRead(last > after, fmt.Errorf("it ends at position %d, and says that the log goes to %d", last, head.Position))
		}
		return nil
	})
	return last, err
}

// errHalf says that an answer broke off after some of it was used. Ask for the rest.
var errHalf = errors.New("the answer broke off")

// halfRead is the error of an answer that broke off: one of which something was used must not be
// asked for again as a whole.
func halfRead(used bool, err error) error {
	if used {
		return fmt.Errorf("%w: %w", errHalf, err)
	}
	return &brokenError{err}
}

// histories is where the contract has the streams of each kind.
var histories = map[events.Kind]string{
	events.KindTenant: "/v1/tenants/", events.KindDatabase: "/v1/databases/", events.KindGroup: "/v1/groups/",
}

// errNoHistories says that this catalogue has no histories of streams of that kind.
var errNoHistories = errors.New("the catalogue is older than the histories of these streams")

// loadPages reads a stream's history page by page.
func (l *Log) loadPages(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	var out []events.Event
	query := url.Values{"page_size": {pageSize}}
	for {
		var page struct {
			Items []events.Event `json:"items"`
			Next  string         `json:"next_page_token"`
		}
		var store uuid.UUID // zero: an older catalogue does not say
		err := l.ask(ctx, histories[id.Kind()]+id.String()+"/events", query, plain, func(res *http.Response) error {
			store = storeOf(res.Header)
			b, err := io.ReadAll(res.Body)
			if err != nil {
				return &brokenError{err}
			}
			if err := json.Unmarshal(b, &page); err != nil {
				return fmt.Errorf("%w: the history of %s: %w", ErrProtocol, id, err)
			}
			if page.Items == nil {
				return fmt.Errorf("%w: the history of %s has no items", ErrProtocol, id)
			}
			return nil
		})
		var answer *Error
		if errors.As(err, &answer) && len(out) == 0 {
			switch {
			case answer.Problem.Type == problem.Base+"not-found":
				if answer.store != uuid.Nil {
					return nil, l.ofStore(ctx, answer.store)
				}
				return nil, nil
			case answer.Status == http.StatusNotFound, answer.Status == http.StatusMethodNotAllowed:
				return nil, fmt.Errorf("%w: %w", errNoHistories, err)
			}
		}
		if err == nil && store != uuid.Nil {
			err = l.ofStore(ctx, store)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			if e.Stream != id || e.Position == 0 {
				return nil, fmt.Errorf("%w: the history of %s has an event of %q", ErrProtocol, id, e.Stream)
			}
			if e.Version > after {
				out = append(out, e)
			}
		}
		if page.Next == "" {
			return out, consecutive(out, after)
		}
		query.Set("page_token", page.Next)
	}
}
