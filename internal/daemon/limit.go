package daemon

import (
	"bytes"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	spareFiles     = 256 // descriptors for everything but clients: stores, brokers, files of imports
	minConnections = 64
	usualFiles     = 1024            // where the system does not say how many there may be
	logPause       = 5 * time.Second // between two warnings of one sort
)

// connectionLimit is how many connections each of some servers may have, so that together they
// leave the process the files that it needs. What comes beyond waits in the system's queue.
func connectionLimit(files uint64, servers int) int {
	if files <= spareFiles {
		return minConnections
	}
	return int(max(minConnections, min(files-spareFiles, 1<<20)/uint64(max(1, servers))))
}

// limited is a listener that has a number of connections open at most. It must be the innermost:
// a connection counts until it is closed, whoever serves it.
type limited struct {
	net.Listener
	free    chan struct{}
	closed  chan struct{}
	closing sync.Once
	log     *slog.Logger
	warn    seldom
}

func limit(l net.Listener, connections int, log *slog.Logger) *limited {
	return &limited{Listener: l, free: make(chan struct{}, connections), closed: make(chan struct{}), log: log}
}

// Accept waits until there are fewer connections than the limit, and for the next one.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	default:
		if l.warn.now() {
			l.log.Warn("as many connections are open as may be: further clients wait until some close", "listen", l.Addr().String(), "connections", cap(l.free))
		}
		select {
		case l.free <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, gone: func() { <-l.free }}, nil
}

// Close also ends an Accept that waits for a connection to close.
func (l *limited) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	once sync.Once
	gone func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.gone)
	return err
}

// CloseWrite lets net/http end an answer before it has read the whole request.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// seldom tells when to warn again.
type seldom struct{ last atomic.Int64 }

func (s *seldom) now() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return now-last >= int64(logPause) && s.last.CompareAndSwap(last, now)
}

// serverLog takes what http.Server says. Most of it is what any client can cause, and is for
// debugging; that no connection can be accepted is for who runs this.
type serverLog struct {
	log  *slog.Logger
	warn seldom
}

func (w *serverLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if bytes.HasPrefix(line, []byte("http: Accept error: ")) {
		if w.warn.now() {
			w.log.Warn("no connection can be accepted", "err", text)
		}
		return len(line), nil
	}
	w.log.Debug(text)
	return len(line), nil
}
