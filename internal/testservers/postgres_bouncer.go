//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// PgBouncer starts a pgbouncer in transaction mode before a PostgreSQL, with few connections to
// it, so that one client's statements go to several. It ends with the test. The URL that it returns is
// the given one with another address; whoever connects there is the user of the given one.
func PgBouncer(tb testing.TB, postgresURL string) string {
	tb.Helper()
	program, err := findPgBouncer(tb.Context())
	if err != nil {
		missing(tb, "pgbouncer", err)
	}
	u, err := url.Parse(postgresURL)
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tenantry-pgbouncer-") //nolint:usetesting // root's tb.TempDir is closed to the user that it runs as
	if err != nil {
		tb.Fatal(err)
	}
	if err := giveAway(dir); err != nil {
		tb.Fatal(err)
	}
	port, err := freePort(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	server := fmt.Sprintf("host=%s port=%s user=%s", u.Hostname(), u.Port(), u.User.Username())
	if password, ok := u.User.Password(); ok {
		server += " password=" + password
	}
	config := fmt.Sprintf(`[databases]
* = %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
`, server, port)
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		tb.Fatal(err)
	}
	logPath := filepath.Join(dir, "log")
	g, err := startGuarded(dir, logPath, dir, []string{program, path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(interrupt(g.pid), g.end(), os.RemoveAll(dir)); err != nil {
			tb.Errorf("stop pgbouncer: %v", err)
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(patience); ; {
		var dialer net.Dialer
		conn, err := dialer.DialContext(tb.Context(), "tcp", u.Host)
		if err == nil {
			_ = conn.Close()
			return u.String()
		}
		if time.Now().After(deadline) || !alive(g.pid) {
			text, _ := os.ReadFile(logPath)
			tb.Fatalf("pgbouncer does not answer: %v: %s", err, text)
		}
	}
}

// findPgBouncer is the program: of PATH, or Debian's, which is installed where we may.
func findPgBouncer(ctx context.Context) (string, error) {
	const debian = "/usr/sbin/pgbouncer" // not in everyone's PATH
	look := func() (string, bool) {
		if path, err := exec.LookPath("pgbouncer"); err == nil {
			return path, true
		}
		_, err := os.Stat(debian)
		return debian, err == nil
	}
	if path, ok := look(); ok {
		return path, nil
	}
	err := install(ctx, "pgbouncer")
	if path, ok := look(); ok {
		return path, nil
	}
	return "", err
}
