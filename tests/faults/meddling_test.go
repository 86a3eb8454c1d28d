//go:build unix

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

// TestMeddling is about what people with rights do to the engines while all runs. Whatever it is,
// once it is over all goes on by itself.
func TestMeddling_WithTheEnginesUnderLoad_LosesDoublesAndReordersNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true, kafka: 1})
	l := startLoad(t, s, r)
	lasts := 1500 * time.Millisecond // longer than a command waits
	if long() {
		lasts = 30 * time.Second
	}
	writer := parse(t, s.writer).User.Username()
	database := "ALTER DATABASE " + parse(t, s.database).Path[1:]
	var locked *pgx.Conn
	lock := func(statement string) func() error {
		return func() (err error) {
			if locked, err = pgx.Connect(t.Context(), s.database); err != nil {
				return err
			}
			_, err = locked.Exec(t.Context(), "BEGIN; "+statement)
			return err
		}
	}
	unlock := func() error { return locked.Close(t.Context()) }

	for _, m := range []struct {
		what       string
		begin, end func() error
	}{
		{"all sessions are ended, again and again", s.endSessionsTimes(20), nothing},
		{"somebody holds the head of the log", lock("SELECT FROM tenantry.log_head FOR UPDATE"), unlock},
		{"somebody holds all of the log", lock("LOCK TABLE tenantry.events IN ACCESS EXCLUSIVE MODE"), unlock},
		{"tables are rewritten", s.statements("VACUUM FULL tenantry.runs", "VACUUM FULL tenantry.streams",
			"VACUUM FULL tenantry.log_head", "REINDEX TABLE tenantry.claims"), nothing},
		{"the database is read-only", s.statements(database+" SET default_transaction_read_only = on", endSessions),
			s.statements("SET default_transaction_read_only = off", database+" RESET default_transaction_read_only", endSessions)},
		{"catalogues may not connect", s.statements("ALTER ROLE "+writer+" CONNECTION LIMIT 0", endSessions),
			s.statements("ALTER ROLE " + writer + " CONNECTION LIMIT -1")},
		{"catalogues may do nothing", s.statements("REVOKE USAGE ON SCHEMA tenantry FROM " + writer),
			s.statements("GRANT USAGE ON SCHEMA tenantry TO " + writer)},
		{"the topic wants more copies than there are", s.setTopic("min.insync.replicas", "2"), s.setTopic("min.insync.replicas", "1")},
		{"the topic takes small records alone", s.setTopic("max.message.bytes", "200"), s.setTopic("max.message.bytes", "1048588")},
		{"the topic is compacted", s.setTopic("cleanup.policy", "compact"), s.setTopic("cleanup.policy", "delete")},
	} {
		if err := m.begin(); err != nil {
			t.Fatalf("%s: %v", m.what, err)
		}
		pause(t, lasts)
		if err := m.end(); err != nil {
			t.Fatalf("%s: %v", m.what, err)
		}
		l.well(t, m.what)
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// endSessions ends all sessions but the one that says so.
const endSessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"

func (s *system) endSessionsTimes(n int) func() error {
	return func() error {
		for range n {
			if err := s.statements(endSessions)(); err != nil {
				return err
			}
			pause(s.t, 50*time.Millisecond)
		}
		return nil
	}
}

// statements runs statements as the superuser, in one session.
func (s *system) statements(all ...string) func() error {
	return func() error {
		ctx := context.WithoutCancel(s.t.Context())
		conn, err := pgx.Connect(ctx, s.database)
		if err != nil {
			return err
		}
		for _, statement := range all {
			if _, err = conn.Exec(ctx, statement); err != nil {
				err = fmt.Errorf("%s: %w", statement, err)
				break
			}
		}
		return errors.Join(err, conn.Close(ctx))
	}
}

// setTopic changes one of the topic's settings.
func (s *system) setTopic(name, value string) func() error {
	return func() error {
		transport := &kafka.Transport{}
		defer transport.CloseIdleConnections()
		client := &kafka.Client{Addr: kafka.TCP(s.brokers...), Transport: transport, Timeout: 10 * time.Second}
		setting := kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}
		answer, err := client.IncrementalAlterConfigs(s.t.Context(), &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: s.topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{setting},
			}},
		})
		if err != nil {
			return err
		}
		if len(answer.Resources) != 1 {
			return fmt.Errorf("the broker answered about %d topics", len(answer.Resources))
		}
		return answer.Resources[0].Error
	}
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
