package adminapi_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

// endless is a store whose log has no end that one could reach.
type endless struct{ events.Store }

func (endless) Head(context.Context) (events.Head, error) {
	return events.Head{Position: 1 << 50}, nil
}

func (endless) After(_ context.Context, position uint64, limit int) ([]events.Event, error) {
	out := make([]events.Event, limit)
	for i := range out {
		out[i] = events.Event{Position: position + uint64(i) + 1, Data: jsontext.Value("{}")}
	}
	return out, nil
}

func TestLog_AClientThatDoesNotRead_IsCutOff(t *testing.T) {
	ended := make(chan struct{})
	h := mustNew(t, adminapi.Config{Commands: stubCommands{}, Store: endless{}, Partitions: partitions, Patience: 50 * time.Millisecond})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(w, r)
	}))
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(60 * time.Second):
		t.Fatal("the answer still waits for a client that does not read")
	}
}

// stuck is a connection whose client reads nothing until it is released.
type stuck struct {
	header   http.Header
	released chan struct{}
	once     sync.Once
	began    chan struct{} // closed at the first write
	extended atomic.Int64  // how often the client was given more time
	written  atomic.Int64
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Flush()              {}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.began) })
	<-s.released
	s.written.Add(int64(len(b)))
	return len(b), nil
}

func (s *stuck) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() {
		s.extended.Add(1)
	}
	return nil
}

func TestImport_AClientThatSendsFirstAndReadsLater_IsGivenTimeAsLongAsItSends(t *testing.T) {
	const many = 50_000
	conn := &stuck{header: make(http.Header), released: make(chan struct{}), began: make(chan struct{})}
	lines, before, chunks := 0, int64(0), int64(0)
	h := mustNew(t, adminapi.Config{
		Commands: stubCommands{importAll: func(_ context.Context, batch []commands.Command) []commands.ImportResult {
			if lines < many/2 { // by then some answers have been handed on
				return allCreated(counted(&lines, batch))
			}
			if chunks == 0 {
				<-conn.began // from here on the sender waits for the client
				before = conn.extended.Load()
			}
			chunks++
			if counted(&lines, batch); lines == many {
				// Each chunk but the one at hand, and the one before it whose turn may be to come.
				if got := conn.extended.Load() - before; got < chunks-2 {
					t.Errorf("the client was given time %d times in %d chunks", got, chunks)
				}
				close(conn.released)
			}
			return allCreated(batch)
		}},
		Store: openStore(t), Partitions: partitions,
	})
	r := httptest.NewRequest(http.MethodPost, "/v1/import", &generator{lines: many})
	r.Header.Set("Content-Type", "application/x-ndjson")
	h.ServeHTTP(conn, r)
	if lines != many || conn.written.Load() < many*50 {
		t.Errorf("got %d lines and %d octets of answers", lines, conn.written.Load())
	}
}

func counted(n *int, batch []commands.Command) []commands.Command {
	*n += len(batch)
	return batch
}
