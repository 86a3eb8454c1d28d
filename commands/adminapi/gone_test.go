package adminapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

// lockedLog is a log that is read while requests are under way.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// leaving is an API whose clients go away before their answers are whole.
type leaving struct {
	t       *testing.T
	url     string
	addr    string
	log     lockedLog
	ended   chan struct{}
	metrics prometheus.Gatherer
}

func newLeaving(t *testing.T, change func(*adminapi.Config)) *leaving {
	t.Helper()
	registry := prometheus.NewRegistry()
	l := &leaving{t: t, ended: make(chan struct{}, 1), metrics: registry}
	cfg := adminapi.Config{
		Commands: stubCommands{}, Store: endless{}, Partitions: partitions,
		Logger: slog.New(slog.NewTextHandler(&l.log, nil)), Registerer: registry,
	}
	change(&cfg)
	h := mustNew(t, cfg)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { l.ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	l.url, l.addr = web.URL, web.Listener.Addr().String()
	return l
}

// leave sends a request, reads the beginning of its answer, and resets the connection.
func (l *leaving) leave(request string, meanwhile func(io.Writer)) {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		l.t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile(conn)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		l.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // close resets, as the end of a process with unread data does
	_ = conn.Close()
	l.wait()
}

func (l *leaving) wait() {
	l.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(60 * time.Second):
		l.t.Fatal("the request goes on without a client")
	}
}

// wantGone holds what is logged and counted against a client that left.
func (l *leaving) wantGone(route string) {
	l.t.Helper()
	if text := l.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		l.t.Errorf("a client that left is no error of ours: %s", text)
	}
	if got := counted499(l.t, l.metrics); got != route {
		l.t.Errorf("got requests %q, want one of %q with status 499", got, route)
	}
}

// counted499 is the route of the one request that was counted, where it was with status 499.
func counted499(t *testing.T, metrics prometheus.Gatherer) string {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		if family.GetName() != "tenantry_admin_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if text := labels["route"]; labels["status"] == "499" {
				all = append(all, text)
			} else {
				all = append(all, text+" "+labels["status"])
			}
		}
	}
	return strings.Join(all, ", ")
}

func TestLog_TheReaderLeaves_IsNoErrorOfOurs(t *testing.T) {
	l := newLeaving(t, func(*adminapi.Config) {})
	l.leave("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", nil)
	l.wantGone("/v1/events")
}

// endlessStreams is a store with more tenants than one could read.
type endlessStreams struct{ endless }

func (endlessStreams) Streams(_ context.Context, kind events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if kind != events.KindTenant {
		return nil, nil
	}
	n := 0
	if !after.IsZero() {
		if _, err := fmt.Sscanf(after.String(), "ten_%d", &n); err != nil {
			return nil, err
		}
	}
	out := make([][]events.Event, limit)
	for i := range out {
		n++
		id, err := events.ParseTenantID(fmt.Sprintf("ten_%012d", n))
		if err != nil {
			return nil, err
		}
		stream, err := events.New(id.Stream(), 0, events.Metadata{Time: time.Unix(0, 0)}, events.TenantRegistered{Name: strings.Repeat("T", 200), HomeRegion: "eu-west"})
		if err != nil {
			return nil, err
		}
		stream[0].Position = 1
		out[i] = stream
	}
	return out, nil
}

func TestExport_TheReaderLeaves_IsNoErrorOfOurs(t *testing.T) {
	l := newLeaving(t, func(c *adminapi.Config) { c.Store = endlessStreams{} })
	l.leave("GET /v1/export HTTP/1.1\r\nHost: x\r\n\r\n", nil)
	l.wantGone("/v1/export")
}

func TestImport_TheReaderOfTheAnswerLeaves_IsNoErrorOfOurs(t *testing.T) {
	l := newLeaving(t, func(c *adminapi.Config) {
		c.Commands = stubCommands{importAll: func(_ context.Context, lines []commands.Command) []commands.ImportResult { return allCreated(lines) }}
	})
	l.leave("POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000000\r\n\r\n", func(w io.Writer) {
		if _, err := io.Copy(w, &generator{lines: 2000}); err != nil {
			t.Fatal(err)
		}
	})
	l.wantGone("/v1/import")
}

// TestImport_TheClientLeavesWhileALineIsStored is what the store's own error is then about.
func TestImport_TheClientLeavesWhileALineIsStored_IsNoErrorOfOurs(t *testing.T) {
	began := make(chan struct{})
	l := newLeaving(t, func(c *adminapi.Config) {
		c.Commands = stubCommands{importAll: func(ctx context.Context, lines []commands.Command) []commands.ImportResult {
			close(began)
			<-ctx.Done()
			return []commands.ImportResult{{ID: lines[0].Target(), Status: commands.ImportFailed, Err: ctx.Err()}}
		}}
	})
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	line := groupBody + "\n"
	_, _ = fmt.Fprintf(conn, "POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
	<-began
	_ = conn.Close()
	l.wait()
	l.wantGone("/v1/import")
}

func TestCommand_TheClientLeavesMeanwhile_IsNoErrorOfOurs(t *testing.T) {
	began := make(chan struct{})
	l := newLeaving(t, func(c *adminapi.Config) { c.Commands = waiting{began: began} })
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(conn, "POST /v1/groups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(groupBody), groupBody)
	<-began
	_ = conn.Close()
	l.wait()
	l.wantGone("/v1/groups")
}

// waiting carries out no command, and waits for whoever sent it to leave.
type waiting struct {
	adminapi.Commands
	began chan struct{}
}

func (w waiting) Do(ctx context.Context, _ commands.Request) (commands.Answer, error) {
	close(w.began)
	<-ctx.Done()
	return commands.Answer{}, fmt.Errorf("append: %w", ctx.Err())
}

func TestLog_TheStoreFailsHalfWay_IsCountedAsOurError(t *testing.T) {
	l := newLeaving(t, func(c *adminapi.Config) { c.Store = &failsLater{} })
	answer, err := http.Get(l.url + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	l.wait()
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(l.log.String(), "level=ERROR") {
		t.Errorf("got %v, and the log %q", err, l.log.String())
	}
	if got := counted499(t, l.metrics); got != "/v1/events 500" {
		t.Errorf("got requests %q, want it counted as 500 though it began with 200", got)
	}
}

// failsLater is a log of which the second part cannot be read, for a reason that looks like a
// client's leaving.
type failsLater struct{ endless }

func (f *failsLater) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	if position > 0 {
		return nil, fmt.Errorf("read the log: %w", &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET})
	}
	return f.endless.After(ctx, position, limit)
}
