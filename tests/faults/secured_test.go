//go:build unix

package faults

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/testservers"
)

// secured is what both sides need to speak TLS, and servers to log in to Kafka. Of nil all is empty.
type secured struct {
	authority *testservers.Authority
	password  string
	flags     []string // of every server
}

const kafkaUser = "tenantry"

func newSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	authority, err := testservers.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &secured{authority: authority, password: "correct horse"}
	file := filepath.Join(dir, "kafka_password")
	if err := os.WriteFile(file, []byte(c.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.flags = []string{"--kafka-ca-file", authority.CAFile(), "--kafka-sasl-mechanism", "SCRAM-SHA-512", "--kafka-user", kafkaUser, "--kafka-password-file", file}
	return c
}

func (c *secured) certificates() *testservers.Authority {
	if c == nil {
		return nil
	}
	return c.authority
}

func (c *secured) users() map[string]string { return map[string]string{kafkaUser: c.password} }

// over makes a database's URL one that takes nothing but TLS, with a server that it knows.
func (c *secured) over(u *url.URL) {
	if c != nil {
		u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.authority.CAFile()}}.Encode()
	}
}

// TestSecured_… holds connections with TLS and a login to what is asked of plain ones: that they are made again, with
// all that takes, when they broke, also while the network is slow.
func TestSecured_ConnectionsResetSlowOrCut_AreMadeAgainAndLoseDoubleAndReorderNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true, kafka: 1, through: true, secure: true, small: true})
	l := startLoad(t, s, r)
	ways := []string{"catalogue-0=postgres", "servers=kafka-1", "eu-west-0=source"}
	spoil := []fault{
		{"reset", toxic(down, "reset_peer", `{"timeout":50}`)},
		{"latency", toxic(down, "latency", `{"latency":150,"jitter":100}`)},
		{"cut", (*link).cut},
	}
	for round := range spoil { // each way has another fault, and all in the end
		var mend []func() error
		for i, way := range ways {
			f := spoil[(round+i)%len(spoil)]
			undo, err := f.begin(s.links.by[way])
			if err != nil {
				t.Fatal(err)
			}
			mend = append(mend, undo)
			t.Logf("%s: %s", way, f.name)
		}
		pause(t, time.Duration(500+r.IntN(1500))*time.Millisecond)
		for _, undo := range mend {
			if err := undo(); err != nil {
				t.Fatal(err)
			}
		}
		l.well(t, "these faults")
	}
	// That they were secured: Kafka's one address that they were told takes nothing else.
	secure, plain := s.sessions()
	if secure == 0 || plain > 0 {
		t.Errorf("PostgreSQL has %d sessions of servers with TLS, and %d without", secure, plain)
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// sessions is how many sessions servers have at PostgreSQL, with TLS and without.
func (s *system) sessions() (secure, plain int) {
	s.t.Helper()
	ctx := context.WithoutCancel(s.t.Context())
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	err = conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
		WHERE application_name LIKE 'tenantry%'`).Scan(&secure, &plain)
	if err != nil {
		s.t.Fatal(err)
	}
	return secure, plain
}
