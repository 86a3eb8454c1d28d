package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// ErrNoNode says that no node runs on a region's directory, or none that answers.
var ErrNoNode = errors.New("no node runs on the region's directory")

// Client is a node that runs, as its control socket shows it.
type Client struct {
	dir  readmodel.Dir
	http *http.Client
}

// Dial finds the node that runs on a region's directory; ErrNoNode: there is none.
func Dial(ctx context.Context, dir readmodel.Dir) (*Client, error) {
	c := &Client{dir: dir, http: &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dir) },
		IdleConnTimeout: time.Minute,
	}}}
	conn, err := dial(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED): // none, or what a kill has left
		return nil, fmt.Errorf("%w: %w", ErrNoNode, err)
	case err != nil:
		return nil, fmt.Errorf("reach the node of %s: %w", dir, err)
	}
	return c, conn.Close()
}

// Close gives up connections; the node runs on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// call asks the node, and decodes its answer into v.
func (c *Client) call(ctx context.Context, method, path string, body, v any) error {
	res, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if v == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	if err := json.UnmarshalRead(res.Body, v); err != nil {
		return c.gone(ctx, fmt.Errorf("read the node's answer: %w", err))
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	// The host is nobody's: what is dialled is the socket.
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+protocol+path, bytes.NewReader(b)) //nolint:gosec // paths of our own
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req) //nolint:gosec // the same
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return nil, c.gone(ctx, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var w wireError
	b, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || json.Unmarshal(b, &w) != nil || w.Text == "" {
		return nil, fmt.Errorf("the node answers %s: it is of another version; restart it with this one", res.Status)
	}
	return nil, w.error()
}

// gone is why a node does not answer any more.
func (c *Client) gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the node of %s stopped answering, start it and try again: %w", c.dir, err)
}

// Info is the node's.
func (c *Client) Info(ctx context.Context) (info Info, err error) {
	err = c.call(ctx, http.MethodGet, "/info", nil, &info)
	return info, err
}

// Repair has the node do it.
func (c *Client) Repair(ctx context.Context, repairs []projections.Repair) (int, error) {
	body := make([]wireRepair, len(repairs))
	for i, r := range repairs {
		body[i] = toWireRepair(r)
	}
	var done wireRepaired
	if err := c.call(ctx, http.MethodPost, "/repair", body, &done); err != nil {
		return 0, err
	}
	return done.repaired()
}

// Recount has the node do it.
func (c *Client) Recount(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/recount", nil, nil)
}

// Adopt has the node do it; it returns when look-ups go to the new generation, or never will.
func (c *Client) Adopt(ctx context.Context, generation string) error {
	return c.call(ctx, http.MethodPost, "/adopt", wireGeneration{generation}, nil)
}

// Rollback has the node do it.
func (c *Client) Rollback(ctx context.Context) (string, error) {
	var to wireGeneration
	err := c.call(ctx, http.MethodPost, "/rollback", nil, &to)
	return to.Generation, err
}

// Inspect takes a moment of the node's copy, which the node keeps until Close.
func (c *Client) Inspect(ctx context.Context) (Inspection, error) {
	var w wireInspection
	if err := c.call(ctx, http.MethodPost, "/inspections", nil, &w); err != nil {
		return nil, err
	}
	in := &distant{client: c, path: "/inspections/" + w.ID, progress: w.Progress, over: make(chan struct{})}
	if idle := time.Duration(w.Idle) * time.Millisecond; idle > 0 {
		in.keeping.Go(func() { in.keep(idle / 3) })
	}
	sums, err := decodeSums(w.Maintained)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	in.maintained = sums
	return in, nil
}

// distant is a moment of a node's copy.
type distant struct {
	client     *Client
	path       string
	progress   *readmodel.Progress
	maintained Sums

	keeping sync.WaitGroup // of what tells the node that it is needed still
	over    chan struct{}  // closed by Close
	closing sync.Once
}

// keep has the node keep it until Close, also while nothing is asked of it: the source may take long to be read.
func (d *distant) keep(every time.Duration) {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		select {
		case <-d.over:
			return
		case <-again.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		err := d.client.call(ctx, http.MethodGet, d.path, nil, nil)
		cancel()
		if errors.Is(err, ErrSessionGone) {
			return // who asks next is told
		}
	}
}

func (d *distant) Progress() *readmodel.Progress { return d.progress }
func (d *distant) Maintained() Sums              { return d.maintained }

func (d *distant) Scan(ctx context.Context, rate int) (*Scanned, error) {
	var w wireScanned
	if err := d.client.call(ctx, http.MethodPost, d.path+"/scan?rate="+strconv.Itoa(rate), nil, &w); err != nil {
		return nil, err
	}
	sums, err := decodeSums(w.Sums)
	if err != nil {
		return nil, err
	}
	s := &Scanned{Sums: sums, Entries: w.Entries, Tenants: w.Tenants}
	for _, key := range w.Damaged {
		s.Damaged = append(s.Damaged, string(key))
	}
	return s, nil
}

func (d *distant) Entries(ctx context.Context, of *BucketSet, yield func(Entry) error) error {
	res, err := d.client.send(ctx, http.MethodPost, d.path+"/entries", struct {
		Buckets []byte `json:"buckets"`
	}{of[:]})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return readEntries(bufio.NewReaderSize(res.Body, 64<<10), yield)
}

func (d *distant) Record(ctx context.Context, key string) ([]byte, error) {
	var r struct {
		Value []byte `json:"value"`
		Found bool   `json:"found"`
	}
	if err := d.client.call(ctx, http.MethodGet, d.path+"/record?key="+url.QueryEscape(key), nil, &r); err != nil || !r.Found {
		return nil, err
	}
	return r.Value, nil
}

func (d *distant) Quarantined(ctx context.Context) (out []readmodel.Quarantine, err error) {
	err = d.client.call(ctx, http.MethodGet, d.path+"/quarantined", nil, &out)
	return out, err
}

func (d *distant) Recount(ctx context.Context) error {
	return d.client.call(ctx, http.MethodPost, d.path+"/recount", nil, nil)
}

// Close tells the node not to keep it. A node that cannot be told lets it go by itself.
func (d *distant) Close() error {
	d.closing.Do(func() { close(d.over) })
	d.keeping.Wait() // a node does not end what it is asked for
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := d.client.call(ctx, http.MethodDelete, d.path, nil, nil)
	if err != nil {
		return fmt.Errorf("end the comparison with the node: %w", err)
	}
	return nil
}
