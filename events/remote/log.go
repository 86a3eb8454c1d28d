package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// Config says which catalogue to read, and how.
type Config struct {
	URL string // http(s)://host:port of the admin API, with a path in front of /v1 where a proxy wants one
	// Token is asked before each request for the bearer token to send, so that it may be renewed;
	// nil: none is sent.
	Token func(ctx context.Context) (string, error)
	TLS   *tls.Config // of an https URL; nil: the system's authorities
	// Silence is how long a catalogue may send nothing before it is taken to be away; 0: 15 s.
	Silence time.Duration
	// Patience is how long Whole waits for a catalogue that is away; 0: a minute.
	Patience time.Duration
	// TempDir is where Whole sorts; "": the system's directory for temporary files.
	TempDir string
}

// Log is a catalogue's log. Any number of goroutines may read it.
type Log struct {
	base    *url.URL
	token   func(context.Context) (string, error)
	client  *http.Client
	silence time.Duration

	patience time.Duration
	tempDir  string

	store atomic.Pointer[uuid.UUID] // whose log was read last; nil: none was
}

// New is the log of a catalogue; it does no I/O yet.
func New(cfg Config) (*Log, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	l := &Log{base: base, token: cfg.Token, silence: cfg.Silence, patience: cfg.Patience, tempDir: cfg.TempDir}
	if l.silence == 0 {
		l.silence = 15 * time.Second
	}
	if l.patience == 0 {
		l.patience = time.Minute
	}
	l.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:       cfg.TLS,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: l.silence,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   4,
			ForceAttemptHTTP2:     true,
		},
		// A token must not go to where an answer points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return l, nil
}

// parseURL repeats nothing of a URL that it refuses: there may be a password in it.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("the catalogue's address is no URL: give http://HOST:PORT or https://HOST:PORT")
	case u.User != nil:
		return nil, errors.New("the catalogue's address has a user in it: leave that out, and give a token")
	case u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("the catalogue's address has a query in it: give http://HOST:PORT or https://HOST:PORT")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Close gives up connections that lie idle.
func (l *Log) Close() error {
	l.client.CloseIdleConnections()
	return nil
}

// Head is where the log ends, and the identity of the store.
func (l *Log) Head(ctx context.Context) (events.Head, error) {
	var head events.Head
	err := l.ask(ctx, "/v1/events", url.Values{"after": {lastPosition}, "limit": {"1"}}, ndjson, func(res *http.Response) (err error) {
		head, err = l.headOf(res)
		return err
	})
	return head, err
}

// ofStore holds an answer to be of the store whose log this is: what stands between may have asked another one, and what that
// says of a stream is true there.
func (l *Log) ofStore(ctx context.Context, id uuid.UUID) error {
	if l.store.CompareAndSwap(nil, &id) || *l.store.Load() == id {
		return nil
	}
	head, err := l.Head(ctx) // it may be another one by now
	if err == nil && head.StoreID != id {
		err = fmt.Errorf("%w: one answer of %s is of store %s, and another of store %s: does its address lead to two catalogues?", events.ErrUnavailable, l.base.Host, id, head.StoreID)
	}
	return err
}

// After is up to limit events after a position, in order and without a hole. It may be fewer than
// there are, and is none only where there are none.
func (l *Log) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	var out []events.Event
	_, err := l.lines(ctx, position, uint64(max(limit, 1)), func(e events.Event) error {
		out = append(out, e)
		return nil
	})
	if errors.Is(err, errHalf) {
		return out, nil // the rest comes with the next call
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Read calls each with the events after a position up to another, which the log must have come to:
// in one request, or in several where answers break off. An error of each ends it.
func (l *Log) Read(ctx context.Context, after, upTo uint64, each func(events.Event) error) error {
	for after < upTo {
		last, err := l.lines(ctx, after, upTo-after, each)
		var own *callerError
		switch {
		case errors.As(err, &own):
			return own.error
		case err != nil && !errors.Is(err, errHalf):
			return err
		case last == after:
			return fmt.Errorf("%w: the log ends at position %d, and %d was asked for", ErrProtocol, after, upTo)
		}
		after = last // if it broke off, it had come further
	}
	return nil
}

// Load is a stream's events after a version, in order; none where there are none. They are of the store that Head
// tells of, where the catalogue says whose they are, which one of an older version does not.
func (l *Log) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	out, err := l.loadPages(ctx, id, after)
	if id.Kind() != events.KindTenant && errors.Is(err, errNoHistories) {
		return l.scan(ctx, id, after)
	}
	return out, err
}

// scan finds a stream's events in the whole log.
func (l *Log) scan(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	var out []events.Event
	err = l.Read(ctx, 0, head.Position, func(e events.Event) error {
		if e.Stream == id && e.Version > after {
			out = append(out, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, consecutive(out, after)
}

// consecutive holds versions to be a stream's after one.
func consecutive(stream []events.Event, after uint64) error {
	for _, e := range stream {
		if after++; e.Version != after {
			return fmt.Errorf("%w: %s has version %d where %d should be", ErrProtocol, e.Stream, e.Version, after)
		}
	}
	return nil
}
