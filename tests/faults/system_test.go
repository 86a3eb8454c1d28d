//go:build unix

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/testservers"
)

// options say what a system is made of.
type options struct {
	postgres bool // a durable server of its own, to be killed; else a database on the one that tests share
	kafka    int  // nodes of a cluster of its own; 0: a topic on the one that tests share
	nodes    int  // of each region; 2 when zero
	// through are ways that lead through a proxy; see links.
	through bool
	// dir is where the nodes' data goes; "": a directory of the test.
	dir string
	// pooler puts pgbouncer, in transaction mode, before PostgreSQL, for all but the leaders' locks.
	pooler bool
	// secure has all servers speak TLS with both engines, which are their own then, and log in to Kafka.
	secure bool
	// small leaves everything out that a test of one node does not need: one catalogue, one region.
	small bool
}

// system is a whole Tenantry in processes.
type system struct {
	t          *testing.T
	postgres   *testservers.PostgresServer // nil: shared
	kafka      *testservers.KafkaCluster   // nil: shared
	database   string                      // URL of the engine itself, as its owner
	writer     string                      // the same, as the role of catalogues
	reader     string                      // the same, as the role of regions
	brokers    []string                    // for catalogues
	others     []string                    // for regions; nil: the same
	topic      string
	catalogues []*server
	nodes      []*server
	secured    *secured // nil: nothing is
	links      links
	http       *http.Client
	writing    *http.Client // for writers, who try elsewhere soon
	long       *http.Client // for answers that take long
}

const partitions = 6

// open starts a system, and returns when all of it is ready.
func open(t *testing.T, o options) *system {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	s := &system{t: t, topic: "tenantry.events." + uuid.NewString(), http: &http.Client{Transport: transport, Timeout: 15 * time.Second}, long: &http.Client{Transport: transport}, writing: &http.Client{Transport: transport, Timeout: 1500 * time.Millisecond}}
	if o.through {
		s.links = newLinks(t)
	}
	if o.secure {
		s.secured = newSecured(t)
	}
	s.engines(o)
	s.migrate()
	s.lay(o)
	t.Cleanup(s.end)
	for _, server := range s.servers() {
		if err := server.start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// engines starts PostgreSQL and Kafka, or takes those that tests share.
func (s *system) engines(o options) {
	s.t.Helper()
	t := s.t
	// Roles are the server's, and cannot go before the database that has grants to them.
	roles := "r" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if o.postgres {
		if _, err := testservers.FindPostgres(t.Context()); err != nil {
			testservers.Postgres(t) // skips or fails, with the reason
		}
		pg, err := testservers.StartPostgres(t.Context(), testservers.PostgresConfig{Durable: true, Certificates: s.secured.certificates()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := pg.Stop(); err != nil {
				t.Error(err)
			}
		})
		s.postgres, s.database = pg, pg.URL()
		s.makeRoles(s.database, roles)
	} else {
		server := testservers.Postgres(t)
		t.Cleanup(func() { s.onDatabase(server, "DROP ROLE IF EXISTS "+roles+"_writer, "+roles+"_reader") })
		s.database = testservers.Database(t)
		s.makeRoles(server, roles)
	}
	switch {
	case o.kafka == 0:
		s.brokers = []string{testservers.Kafka(t)}
	case o.secure:
		s.kafka = testservers.NewKafka(t, testservers.KafkaOptions{
			Nodes: o.kafka, Users: s.secured.users(), Certificates: s.secured.certificates(), AdvertiseSecure: s.links.kafka("servers"),
		})
		s.brokers = s.kafka.Brokers(testservers.Plaintext) // for us
	case o.through:
		// Each broker is known by a proxy's address: clients that asked one for the cluster go on
		// through proxies.
		s.kafka = testservers.NewKafka(t, testservers.KafkaOptions{
			Nodes: o.kafka, Advertise: s.links.kafka("catalogues"), AdvertiseOther: s.links.kafka("regions"),
		})
		s.brokers, s.others = s.kafka.Brokers(testservers.Plaintext), s.kafka.Brokers(testservers.Other)
	default:
		s.kafka = testservers.NewKafka(t, testservers.KafkaOptions{Nodes: o.kafka})
		s.brokers = s.kafka.Brokers(testservers.Plaintext)
	}
}

// makeRoles makes the two roles that an operator would, who can do no more than they have to.
func (s *system) makeRoles(server, name string) {
	s.t.Helper()
	for role, at := range map[string]*string{name + "_writer": &s.writer, name + "_reader": &s.reader} {
		s.onDatabase(server, "CREATE ROLE "+role+" LOGIN")
		u, err := url.Parse(s.database)
		if err != nil {
			s.t.Fatal(err)
		}
		u.User = url.User(role)
		s.secured.over(u)
		*at = u.String()
	}
}

// onDatabase runs a statement as the superuser.
func (s *system) onDatabase(server, statement string) {
	s.t.Helper()
	ctx := context.WithoutCancel(s.t.Context()) // also in a cleanup
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	if _, err := conn.Exec(ctx, statement); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// migrate makes the schema, and grants the roles what they need.
func (s *system) migrate() {
	s.t.Helper()
	role := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		return u.User.Username()
	}
	out, err := tenantry("migrate", "--database-url", s.database, "--writer-role", role(s.writer), "--reader-role", role(s.reader))
	if err != nil {
		s.t.Fatalf("migrate: %v\n%s", err, out)
	}
}

// lay makes the servers, and starts none.
func (s *system) lay(o options) {
	s.t.Helper()
	t := s.t
	catalogues, regions, nodes := 2, []string{"eu-west", "us-east"}, 2
	if o.small {
		catalogues, regions, nodes = 1, regions[:1], 1
	}
	if o.nodes > 0 {
		nodes = o.nodes
	}
	writer, reader := s.writer, s.reader
	if o.pooler {
		writer, reader = testservers.PgBouncer(t, writer), testservers.PgBouncer(t, reader)
	}
	addresses := testservers.FreeAddresses(t, catalogues+len(regions)*nodes)
	logs := t.TempDir()
	others := s.others
	if others == nil {
		others = s.brokers
	}
	prepare := func(name string, brokers []string, args ...string) *server {
		if s.secured != nil {
			brokers = s.kafka.Brokers(testservers.SASLTLS)
			args = append(args, s.secured.flags...)
		}
		address := addresses[0]
		addresses = addresses[1:]
		return &server{
			t: t, name: name, url: "http://" + address, http: s.http, log: filepath.Join(logs, name+".log"),
			args: append(args, "--listen", address, "--kafka-brokers", strings.Join(brokers, ","), "--kafka-topic", s.topic),
		}
	}
	for i := range catalogues {
		args := []string{"catalogue", "--database-url", s.links.database(i, writer), "--kafka-partitions", fmt.Sprint(partitions)}
		if o.pooler {
			args = append(args, "--database-lead-url", s.writer)
		}
		if o.kafka >= 3 {
			args = append(args, "--kafka-replication", "3", "--kafka-min-insync-replicas", "2")
		}
		s.catalogues = append(s.catalogues, prepare(fmt.Sprintf("catalogue-%d", i), s.brokers, args...))
	}
	dir := o.dir
	if dir == "" {
		dir = t.TempDir()
	}
	for _, region := range regions {
		for i := range nodes {
			name := fmt.Sprintf("%s-%d", region, i)
			// One reads the truth from the database, the other from a catalogue.
			source := s.links.source(name, reader)
			if i%2 == 1 {
				source = s.links.source(name, s.catalogues[0].url)
			}
			node := prepare(name, others, "region", "--region", region, "--data-dir", filepath.Join(dir, name), "--source", source)
			node.dir = filepath.Join(dir, name)
			s.nodes = append(s.nodes, node)
		}
	}
}

// tenantry runs the program to its end.
func tenantry(args ...string) (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = environment()
	dieWithTests(cmd)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *system) servers() []*server { return slices.Concat(s.catalogues, s.nodes) }

// ready returns when every server says that it is.
func (s *system) ready() error {
	for _, server := range s.servers() {
		if err := server.awaitAnswer("/readyz"); err != nil {
			return err
		}
	}
	return nil
}

// end kills whatever runs, and shows what a failure may need.
func (s *system) end() {
	for _, server := range s.servers() {
		server.kill()
		if s.t.Failed() {
			s.t.Logf("the end of what %s logged:\n%s", server.name, server.logEnd(25))
		}
	}
}

// stop stops all servers in order.
func (s *system) stop() error {
	var errs []error
	for _, server := range s.servers() {
		errs = append(errs, server.stop())
	}
	return errors.Join(errs...)
}

// leader is the catalogue whose relay publishes; nil while there is none.
func (s *system) leader() *server { return s.leaderBut(nil) }

// leaderBut is the same, without asking one that does not answer.
func (s *system) leaderBut(paused *server) *server {
	for _, c := range s.catalogues {
		if c == paused {
			continue
		}
		if v, err := c.metric("tenantry_relay_leading"); err == nil && v == "1" {
			return c
		}
	}
	return nil
}
