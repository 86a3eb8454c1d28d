package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/internal/problem"
)

const (
	drainTime = 5 * time.Second // for requests under way, when a server stops
	cutTime   = 2 * time.Second // for their handlers to end after that
)

// listen takes an address before anything else is done, so that one that is in use costs
// nothing. flag is how the user can choose another.
func listen(ctx context.Context, address, flag string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s is in use: stop the program that uses it, or choose another with %s (port 0 takes a free one)", address, flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s (%s): %w", address, flag, err)
	}
	return ln, nil
}

func onLoopback(l net.Listener) bool {
	address, ok := l.Addr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback()
}

// server is one HTTP server that is serving.
type server struct {
	http   *http.Server
	url    string
	cancel context.CancelFunc // ends what the handlers wait for
	ended  chan struct{}

	closing  sync.Once
	closeErr error
}

func serve(ln net.Listener, handler http.Handler, log *slog.Logger) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{
		http: &http.Server{
			Handler:           patient(handler, bodyTime),
			ReadHeaderTimeout: 10 * time.Second, // no ReadTimeout: see patient
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ErrorLog:          stdlog.New(&serverLog{log: log}, "", 0),
		},
		url:    "http://" + ln.Addr().String(),
		cancel: cancel,
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(problem.Listener(ln)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP server ended", "url", s.url, "err", err)
		}
	}()
	return s
}

// close lets requests under way end, and cuts off those that do not. It may be called again,
// and then waits for the first call.
func (s *server) close() error {
	s.closing.Do(func() { s.closeErr = s.shutDown() })
	return s.closeErr
}

func (s *server) shutDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	err := s.http.Shutdown(ctx)
	cancel()
	s.cancel()
	if errors.Is(err, context.DeadlineExceeded) {
		ctx, cancel := context.WithTimeout(context.Background(), cutTime)
		defer cancel()
		if err = s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = s.http.Close()
		}
	}
	<-s.ended
	return err
}
