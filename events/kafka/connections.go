package kafka

import (
	"context"
	"net"
	"sync"
)

// connections knows every open connection, so that closing can end the requests under way:
// kafka-go leaves a cancelled long poll reading until the broker answers it, and a member
// that joins a group for as long as the other members take.
type connections struct {
	open dialFunc

	ctx    context.Context // ends dials under way
	cancel context.CancelFunc

	mu   sync.Mutex
	live map[*connection]struct{} // nil once closed
}

func newConnections(open dialFunc) *connections {
	ctx, cancel := context.WithCancel(context.Background())
	return &connections{open: open, ctx: ctx, cancel: cancel, live: make(map[*connection]struct{})}
}

func (cs *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(cs.ctx, cancel)
	defer stop()

	raw, err := cs.open(ctx, network, address)
	if err != nil {
		if cs.ctx.Err() != nil {
			return nil, ErrClosed
		}
		return nil, err
	}
	conn := &connection{Conn: raw, owner: cs}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.live == nil {
		_ = raw.Close() // Never handed out, so that nobody has an interest in the error.
		return nil, ErrClosed
	}
	cs.live[conn] = struct{}{}
	return conn, nil
}

// close closes all connections and refuses new ones.
func (cs *connections) close() {
	cs.cancel()
	cs.mu.Lock()
	live := cs.live
	cs.live = nil
	cs.mu.Unlock()
	for conn := range live {
		_ = conn.Conn.Close() // The peer sees the end either way.
	}
}

type connection struct {
	net.Conn
	owner *connections
}

func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.live, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}
