package postgres_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"
)

// loss is what happens to a call of append on its way.
type loss int

const (
	nothing loss = iota
	unsent       // it does not arrive, and the connection breaks
	unheard      // it is carried out, and the connection breaks before it is answered
	silent       // it is carried out and never answered, and the connection stays
	delayed      // the connection breaks, and it arrives when it is let go
	stopped      // from then on nothing gets through on any connection until it is let go
)

// wire is between a store and its server, and loses calls of append when it is told to.
type wire struct {
	server string
	ln     net.Listener
	tasks  sync.WaitGroup

	mu     sync.Mutex
	next   loss
	before func() // of the loss
	begun  bool   // the stop
	conns  []net.Conn

	held     chan struct{} // closed to let go
	answered chan []byte   // what the server says to a call that was delayed
}

// newWire is a wire to a database, and the URL of its other end.
func newWire(t *testing.T, database string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{server: u.Host, held: make(chan struct{}), answered: make(chan []byte, 1)}
	if w.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = w.ln.Addr().String()
	w.tasks.Go(func() {
		for {
			client, err := w.ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", w.server)
			if err != nil {
				_ = client.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, client, server)
			w.mu.Unlock()
			w.tasks.Go(func() { w.carry(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = w.ln.Close()
		w.letGo()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.tasks.Wait()
	})
	return w, u.String()
}

// lose loses the next call, after something was done.
func (w *wire) lose(l loss, before func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next, w.before = l, before
}

// letGo what was held.
func (w *wire) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.held:
	default:
		close(w.held)
	}
}

// fate is what happens to what a client sends.
func (w *wire) fate(sent []byte) loss {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		return stopped
	}
	if w.next == nothing || !bytes.Contains(sent, []byte("tenantry.append(")) {
		return nothing
	}
	l := w.next
	w.next = nothing
	w.begun = l == stopped
	w.before()
	return l
}

// carry carries everything between two connections until one of them ends.
func (w *wire) carry(client, server net.Conn) {
	var mu sync.Mutex
	now := nothing
	var back sync.WaitGroup
	back.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			fate := now
			mu.Unlock()
			switch fate {
			case unheard:
				return
			case silent:
				continue
			case delayed:
				w.answered <- bytes.Clone(buf[:n])
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	defer back.Wait()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		fate := w.fate(buf[:n])
		mu.Lock()
		now = fate
		mu.Unlock()
		switch fate {
		case unsent:
			return
		case delayed:
			_ = client.Close()
			<-w.held
		case stopped:
			<-w.held
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if fate == delayed {
			back.Wait() // for its answer
		}
	}
}
