package queryapi

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// Front is a listener to put between l and the http.Server that this API is served by. It
// answers the plainest look-ups itself, and hands every connection on which anything else is
// asked to the server, for good:
//
//	l ──▶ front ── GET /v1/lookup/acme.example, found, no condition ──▶ answered here
//	        └───── anything else, with the bytes that were read ──────▶ Accept ──▶ http.Server
//
// It is there because a look-up costs less than what net/http does around it: with wrk on
// loopback 17 µs of CPU a request against 10, of which 8 are system calls; nginx takes 9 to
// return a constant of the same size. That the two answer alike is held by a fuzz test. It can
// be left out, and nothing but the cost changes.
//
// Its Close ends the connections that are not the server's, after the answer that each is
// writing, for which a client has a second; Serve returns when they are gone. With a tracer the front is none, since each request has a span then.
func (a *API) Front(l net.Listener) net.Listener {
	if a.traced {
		return l
	}
	return &front{
		Listener: l, api: a,
		handed: make(chan net.Conn), failed: make(chan error), stopped: make(chan struct{}),
		conns: make(map[net.Conn]struct{}),
	}
}

const (
	// frontIdle is how long a connection may lie idle. The deadline is moved only where it is
	// older than frontRenew, because moving it costs as much as a look-up.
	frontIdle  = 2 * time.Minute
	frontFirst = 10 * time.Second // for the first request of a connection to begin
	frontRenew = 10 * time.Second
	// frontDrain is how long a client may take for the rest of an answer when the listener closes.
	frontDrain = time.Second

	frontRead = 4 << 10  // octets read at a time; a head that is longer is not a plain one
	frontKeep = 64 << 10 // octets of answers after which they are sent, though more are asked for
)

type front struct {
	net.Listener
	api *API

	handed  chan net.Conn // connections for the server
	failed  chan error    // of the listener, for the server
	stopped chan struct{}
	begin   sync.Once
	running sync.WaitGroup // the goroutines that accept and serve

	mu      sync.Mutex
	closing bool
	conns   map[net.Conn]struct{} // those served here
}

// Accept is the next connection that is the server's to serve. After Close it returns when
// nothing of the front is running any more, so that waiting for Serve to end is enough.
func (f *front) Accept() (net.Conn, error) {
	f.begin.Do(func() { f.running.Go(f.accept) })
	select {
	case c := <-f.handed:
		return c, nil
	case err := <-f.failed:
		return nil, err
	case <-f.stopped:
		f.running.Wait()
		return nil, net.ErrClosed
	}
}

// accept takes connections until Close. It is the server that decides whether an error is the
// end, and it closes the listener then.
func (f *front) accept() {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			select {
			case f.failed <- err:
				continue
			case <-f.stopped:
				return
			}
		}
		f.mu.Lock()
		if f.closing {
			f.mu.Unlock()
			_ = c.Close()
			return
		}
		f.conns[c] = struct{}{}
		f.running.Go(func() { f.serve(c) })
		f.mu.Unlock()
	}
}

// Close stops accepting, and has the connections that are served here end. It waits for
// nothing, since http.Server holds its lock meanwhile.
func (f *front) Close() error {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		return net.ErrClosed
	}
	f.closing = true
	close(f.stopped)
	for c := range f.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_ = c.SetWriteDeadline(time.Now().Add(frontDrain))
	}
	f.mu.Unlock()
	return f.Listener.Close()
}

// renew moves the deadline of a connection, unless the listener is closing and has set one.
func (f *front) renew(c net.Conn, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closing {
		_ = c.SetDeadline(until)
	}
}

// serve answers what it can on one connection, and hands it on or closes it then.
func (f *front) serve(c net.Conn) {
	rest, err := f.answer(c)
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	if err != nil {
		_ = c.Close() // the error is the client's going away, its idling, or our closing
		return
	}
	_ = c.SetDeadline(time.Time{}) // the server has deadlines of its own
	select {
	case f.handed <- &handedOn{Conn: c, rest: rest}:
	case <-f.stopped:
		_ = c.Close()
	}
}

// answer reads and answers requests until one comes that is not for here. What it read of
// that one, and behind it, it returns.
func (f *front) answer(c net.Conn) (rest []byte, err error) {
	defer func() {
		if caught := f.caught(recover()); caught != nil {
			err = caught
		}
	}()
	in, out := make([]byte, frontRead), make([]byte, 0, 1<<10)
	var renewed time.Time
	f.renew(c, time.Now().Add(frontFirst))
	for {
		n, err := c.Read(in)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if now.Sub(renewed) > frontRenew {
			f.renew(c, now.Add(frontIdle))
			renewed = now
		}
		for rest := in[:n]; len(rest) > 0; { // one look-up, or several sent without waiting
			asked, plain := parsePlain(rest)
			if plain {
				out, plain = f.api.appendPlain(out, asked, now)
			}
			if plain {
				rest = rest[asked.size:]
			}
			if len(out) > 0 && (!plain || len(rest) == 0 || len(out) > frontKeep) {
				if _, err := c.Write(out); err != nil {
					return nil, err
				}
				out = out[:0]
			}
			if !plain {
				return slices.Clone(rest), nil
			}
		}
		if cap(out) > 2*frontKeep {
			out = make([]byte, 0, 1<<10)
		}
	}
}

// caught is a panic as an error, logged: one connection ends, and not the process.
func (f *front) caught(r any) error {
	if r == nil {
		return nil
	}
	err := panicked(r)
	f.api.log.ErrorContext(context.Background(), "look-up broken off", "err", err)
	return err
}

// handedOn is a connection of which something was read already.
type handedOn struct {
	net.Conn
	rest []byte
}

func (c *handedOn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite lets net/http end an answer before it has read the whole request.
func (c *handedOn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
