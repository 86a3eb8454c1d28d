package postgres_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

// roles makes a database that an owner of its own has migrated, and returns its URLs as the
// owner, a writer and a reader.
func roles(t *testing.T) (owner, writer, reader string) {
	t.Helper()
	server := testservers.Postgres(t)
	names := make(map[string]string)
	for _, role := range []string{"owner", "writer", "reader"} {
		name := run + "_" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_"))
		name = name[:min(len(name), 50)] + "_" + role
		names[role] = name
		exec(t, server, "CREATE ROLE "+name+" LOGIN PASSWORD 'secret-of-"+role+"'")
		t.Cleanup(func() { exec(t, server, "DROP ROLE "+name) }) // after its database
	}
	db := createDatabase(t, server, "OWNER "+names["owner"])
	as := func(role string) string {
		u, err := url.Parse(db)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(names[role], "secret-of-"+role)
		return u.String()
	}
	migrate(t, postgres.MigrateConfig{Config: patient(as("owner")), Writer: names["writer"], Reader: names["reader"]})
	return as("owner"), as("writer"), as("reader")
}

// readOnly is for who may read the log alone.
func readOnly(url string) postgres.Config {
	cfg := patient(url)
	cfg.ReadOnly = true
	return cfg
}

// refusedAs wants the server to refuse a statement to a role.
func refusedAs(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), statement)
	if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "42501" {
		t.Errorf("%s: got %v, want it refused for want of a privilege", statement, err)
	}
}

// changes are all that nobody but the functions may do.
var changes = []string{
	`UPDATE tenantry.events SET data = '{}'`,
	`DELETE FROM tenantry.events`,
	`TRUNCATE tenantry.events`,
	`UPDATE tenantry.events_000000000000001 SET data = '{}'`,
	`DELETE FROM tenantry.events_000000000000001`,
	`TRUNCATE tenantry.events_000000000000001`,
}

func TestRoles_WriterAppendsAndReadsAndCanChangeNothing(t *testing.T) {
	_, writer, _ := roles(t)
	s := open(t, patient(writer))
	batch := registration(t, 1)
	if _, err := s.Append(t.Context(), batch); err != nil {
		t.Fatalf("append: %v", err)
	}
	if got, err := s.After(t.Context(), 0, 10); err != nil || len(got) != len(batch.Events) {
		t.Errorf("after: got %d events, %v", len(got), err)
	}
	if _, err := s.DropKeys(t.Context(), batch.Events[0].Time); err != nil {
		t.Errorf("drop keys: %v", err)
	}
	leading, release := lead(t, s)
	if leading.Err() != nil {
		t.Error("it does not lead")
	}
	release()
	for _, statement := range append(changes,
		`INSERT INTO tenantry.events SELECT * FROM tenantry.events`,
		`UPDATE tenantry.log_head SET position = 0`,
		`DELETE FROM tenantry.claims`,
		`SELECT * FROM tenantry.claims`,
		`UPDATE tenantry.streams SET version = 9`,
		`DROP TABLE tenantry.events`,
		`ALTER TABLE tenantry.events DISABLE TRIGGER ALL`,
		`CREATE TABLE tenantry.mine ()`,
		`DROP FUNCTION tenantry.drop_keys`,
		`INSERT INTO tenantry.schema_versions (version_id, is_applied) VALUES (9999, true)`,
	) {
		refusedAs(t, writer, statement)
	}
}

func TestRoles_ReaderReadsTheLogAndNothingElse(t *testing.T) {
	_, writer, reader := roles(t)
	batch := registration(t, 1)
	if _, err := open(t, patient(writer)).Append(t.Context(), batch); err != nil {
		t.Fatalf("append: %v", err)
	}
	s := open(t, readOnly(reader))
	if got, err := s.Load(t.Context(), batch.Stream, 0); err != nil || len(got) != len(batch.Events) {
		t.Errorf("load: got %d events, %v", len(got), err)
	}
	if got, err := s.Streams(t.Context(), events.KindTenant, events.StreamID{}, 10); err != nil || len(got) != 1 {
		t.Errorf("streams: got %d, %v", len(got), err)
	}
	if got, err := s.After(t.Context(), 0, 10); err != nil || len(got) != len(batch.Events) {
		t.Errorf("after: got %d events, %v", len(got), err)
	}
	if err := s.Wait(t.Context(), 0); err != nil {
		t.Errorf("wait: %v", err)
	}
	if _, err := s.Append(t.Context(), registration(t, 2)); err == nil {
		t.Error("a reader appends")
	}
	for _, statement := range append(changes,
		`SELECT * FROM tenantry.idempotency_keys`,
		`SELECT tenantry.drop_keys(now(), 1000)`,
		`SELECT tenantry.mint_store_id(gen_random_uuid())`,
		`SELECT tenantry.make_partitions(1)`,
	) {
		refusedAs(t, reader, statement)
	}
}

func TestRoles_EvenTheOwnerIsRefusedAChangeOfTheLog(t *testing.T) {
	owner, _, _ := roles(t)
	if _, err := open(t, patient(owner)).Append(t.Context(), registration(t, 1)); err != nil {
		t.Fatalf("append: %v", err)
	}
	for _, statement := range changes {
		refusedAs(t, owner, statement)
	}
}

// A migration without --writer-role, of a database whose writer was granted its rights by an older program.
func TestRoles_WriterOfAnOlderSchema_HasAllRightsAfterAMigrationThatDoesNotNameIt(t *testing.T) {
	server := testservers.Postgres(t)
	name := run + "_older_writer"
	exec(t, server, "CREATE ROLE "+name+" LOGIN")
	t.Cleanup(func() { exec(t, server, "DROP ROLE "+name) }) // after its database
	db := createDatabase(t, server, "")
	for version := range postgres.KnownSchema() {
		if _, err := postgres.MigrateTo(t.Context(), postgres.MigrateConfig{Config: patient(db), Writer: map[bool]string{true: name}[version == 0]}, version+1); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(name)
	s := open(t, patient(u.String()))
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id, err := s.MintStoreID(t.Context(), head.StoreID, uuid.New()); err != nil || id == head.StoreID {
		t.Errorf("mint: got %s, %v", id, err)
	}
}
