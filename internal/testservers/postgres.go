//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// PostgresEnv, where set, is the URL of a PostgreSQL server that tests share, whose user may
// create databases and roles. internal/testservers/run sets it for one run of all tests.
const PostgresEnv = "TENANTRY_TEST_POSTGRES"

// PostgresMissingEnv, where set, says why there is no PostgreSQL, so that not every process tries to get
// one again.
const PostgresMissingEnv = "TENANTRY_TEST_NO_POSTGRES"

// patience is how long a server may take to start or to stop.
const patience = time.Minute

// sharedPostgres keeps the server: a pipe that nobody has any more is closed, and the server ends.
var sharedPostgres = sync.OnceValues(func() (*PostgresServer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	// It is never stopped by us: its guardian does that when this process ends.
	return StartPostgres(ctx, PostgresConfig{})
})

// Postgres is the URL of a server on which the caller may create databases and roles: the one
// of [PostgresEnv], or one that this process starts at the first call. What a test creates there,
// it drops. Nothing on this server survives a power cut: see [StartPostgres] for one that does.
func Postgres(tb testing.TB) string {
	tb.Helper()
	if url := os.Getenv(PostgresEnv); url != "" {
		return url
	}
	s, err := sharedPostgres()
	if err == nil {
		return s.URL()
	}
	missing(tb, "PostgreSQL", err)
	return ""
}

// PostgresConfig is how to start a server; the zero value is a fast one for tests that do not
// ask what a crash leaves.
type PostgresConfig struct {
	// Dir is where its data is, or shall be; "": a temporary one, which Stop removes, as does the
	// end of this process.
	Dir string
	// Bin is the directory of its programs; "": whatever FindPostgres finds.
	Bin string
	// Durable is fsync and all that belongs to it, as the server has it by default.
	Durable bool
	// Certificates, where not nil, is the authority that the server's certificate, for 127.0.0.1, is of; without
	// it there is no TLS.
	Certificates *Authority
	// Settings are in force besides, as by -c.
	Settings map[string]string
}

// PostgresServer is a server that this process started.
type PostgresServer struct {
	cfg       PostgresConfig
	temporary string // what Stop removes
	port      int
	guardian  *guardian
}

// StartPostgres starts a server of its own for the caller, on a free port of the loopback
// interface, and returns when it answers. Its data is made anew where Dir has none. The server ends
// with this process, whatever ends that.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (_ *PostgresServer, err error) {
	if cfg.Bin == "" {
		if cfg.Bin, err = FindPostgres(ctx); err != nil {
			return nil, err
		}
	}
	s := &PostgresServer{cfg: cfg}
	if cfg.Dir == "" {
		if s.temporary, err = os.MkdirTemp("", "tenantry-postgres-"); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(s.temporary))
			}
		}()
		if err := giveAway(s.temporary); err != nil {
			return nil, err
		}
		s.cfg.Dir = filepath.Join(s.temporary, "data")
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		if err := s.initialise(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.certify(); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// certify puts a certificate into the server's directory, where it has to own it.
func (s *PostgresServer) certify() error {
	if s.cfg.Certificates == nil {
		return nil
	}
	certFile, keyFile, err := s.cfg.Certificates.Issue("postgres", "127.0.0.1")
	if err != nil {
		return err
	}
	for from, name := range map[string]string{certFile: certificate, keyFile: certificateKey} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		to := filepath.Join(s.cfg.Dir, name)
		if err := errors.Join(os.WriteFile(to, text, 0o600), giveAway(to)); err != nil {
			return err
		}
	}
	return nil
}

// The names of a server's certificate and key, in its directory.
const certificate, certificateKey = "server.crt", "server.key"

func (s *PostgresServer) initialise(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := giveAway(s.cfg.Dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, "initdb"), "--pgdata="+s.cfg.Dir,
		"--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd.Dir = s.cfg.Dir
	asServer(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// start starts the server on the port that it had, or on a free one.
func (s *PostgresServer) start(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for {
		port := s.port
		if port == 0 {
			var err error
			if port, err = freePort(ctx); err != nil {
				return err
			}
		}
		err := s.startOn(ctx, port)
		if err == nil {
			s.port = port
			return nil
		}
		// Another may have taken the port since, and what a killed server has left may take a while
		// to go away.
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}

func (s *PostgresServer) startOn(ctx context.Context, port int) error {
	settings := map[string]string{
		"port":                    strconv.Itoa(port),
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"logging_collector":       "off",
	}
	if !s.cfg.Durable {
		maps.Copy(settings, map[string]string{"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"})
	}
	if s.cfg.Certificates != nil {
		maps.Copy(settings, map[string]string{"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": certificateKey})
	}
	maps.Copy(settings, s.cfg.Settings)
	args := []string{filepath.Join(s.cfg.Bin, "postgres"), "-D", s.cfg.Dir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	logPath := filepath.Join(s.cfg.Dir, "server.log")
	g, err := startGuarded(s.cfg.Dir, logPath, s.temporary, args)
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, g); err != nil {
		text, readErr := os.ReadFile(logPath)
		return errors.Join(err, g.end(), readErr, fmt.Errorf("its log ends: %s", text[max(0, len(text)-2000):]))
	}
	s.guardian = g
	return nil
}

// awaitReady waits until the server says in its PID file that it is ready.
func (s *PostgresServer) awaitReady(ctx context.Context, g *guardian) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		pid, ready := s.pidFile()
		if ready && pid == g.pid {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s: %w", s.cfg.Dir, ctx.Err())
		}
		if !alive(g.pid) {
			return fmt.Errorf("PostgreSQL in %s has ended", s.cfg.Dir)
		}
	}
}

// pidFile is the process that runs in the directory, and whether it takes connections.
func (s *PostgresServer) pidFile() (pid int, ready bool) {
	text, err := os.ReadFile(filepath.Join(s.cfg.Dir, "postmaster.pid"))
	if err != nil {
		return 0, false
	}
	lines := strings.Split(string(text), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || len(lines) < 8 {
		return 0, false
	}
	return pid, strings.TrimSpace(lines[7]) == "ready"
}

// URL names the server and its superuser; a restart does not change it.
func (s *PostgresServer) URL() string { return s.DatabaseURL("postgres") }

// DatabaseURL names a database of the server and its superuser.
func (s *PostgresServer) DatabaseURL(name string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}

// Port is where it listens, on 127.0.0.1.
func (s *PostgresServer) Port() int { return s.port }

// Dir is where its data is.
func (s *PostgresServer) Dir() string { return s.cfg.Dir }

// PID is the server's first process; 0 while it does not run.
func (s *PostgresServer) PID() int {
	if s.guardian == nil {
		return 0
	}
	return s.guardian.pid
}

// PIDs are all processes of the server now; none while it does not run. Without /proc it is the
// first alone.
func (s *PostgresServer) PIDs() []int {
	if s.guardian == nil {
		return nil
	}
	return append([]int{s.guardian.pid}, children(s.guardian.pid)...)
}

// Command is one of the server's programs, such as pg_basebackup, to be run as the user that
// may read its data. Debian has them all; what is fetched has initdb and postgres alone.
func (s *PostgresServer) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, program), args...)
	cmd.Dir = s.cfg.Dir
	asServer(cmd)
	return cmd
}

// Stop ends the server as an operator would ("fast"), and removes its data where that is
// temporary. A second Stop does nothing.
func (s *PostgresServer) Stop() error {
	err := s.end(interrupt)
	if s.temporary != "" {
		err = errors.Join(err, os.RemoveAll(s.temporary))
	}
	return err
}

// Kill ends all processes of the server by kill -9. Its data stays as it is: Restart goes on with it.
func (s *PostgresServer) Kill() error {
	return s.end(killTree)
}

// Restart ends the server, as Stop does where it still runs, and starts it again on the same
// port and data.
func (s *PostgresServer) Restart(ctx context.Context) error {
	if err := s.end(interrupt); err != nil {
		return err
	}
	return s.start(ctx)
}

func (s *PostgresServer) end(signal func(pid int) error) error {
	g := s.guardian
	if g == nil {
		return nil
	}
	s.guardian = nil
	err := signal(g.pid)
	deadline := time.Now().Add(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for alive(g.pid) && time.Now().Before(deadline) {
		<-again.C
	}
	return errors.Join(err, g.end())
}

func freePort(ctx context.Context) (int, error) {
	addresses, err := freeAddresses(ctx, 1)
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
