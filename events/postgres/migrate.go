package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where goose keeps which migrations a database has.
const versionTable = "tenantry.schema_versions"

// MigrateConfig says which database to bring to the schema of this program.
type MigrateConfig struct {
	// Config is how to reach it, as the role that shall own the schema: with the right to create
	// one in the database, and directly, since a pooler mixes up sessions.
	Config
	// Writer and Reader, where not empty, are roles that are granted what a catalogue needs, and
	// what a region needs that reads the log. Neither can alter what is in it.
	Writer, Reader string
	// DryRun changes nothing.
	DryRun bool
}

// Step is a part of a migration: what it is, and its SQL.
type Step struct {
	Name string
	SQL  string
}

// Migrate brings a database's schema to that of this program, grants the roles their rights, and
// returns what it did, or would do. Any number may run at once; who comes second finds nothing to
// do but the grants. A schema of a newer program is refused.
func Migrate(ctx context.Context, cfg MigrateConfig) ([]Step, error) {
	return migrateTo(ctx, cfg, migrations, KnownSchema())
}

// KnownSchema is the version of the schema that this program works with.
func KnownSchema() int64 {
	names := slices.Sorted(sourceNames(migrations))
	version, err := versionOf(names[len(names)-1])
	if err != nil {
		panic(err) // the names are in this program
	}
	return version
}

func sourceNames(files fs.FS) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		names, err := fs.Glob(files, "migrations/*.sql")
		if err != nil {
			panic(err) // the pattern is in this program
		}
		for _, n := range names {
			if !yield(n) {
				return
			}
		}
	}
}

func versionOf(name string) (int64, error) {
	number, _, _ := strings.Cut(path.Base(name), "_")
	return strconv.ParseInt(number, 10, 64)
}

func migrateTo(ctx context.Context, cfg MigrateConfig, files fs.FS, target int64) (_ []Step, err error) {
	cfg.Config = cfg.withDefaults()
	conn, err := cfg.conn(cfg.URL)
	if err != nil {
		return nil, err
	}
	// goose reads back what it wrote, in the simplest way.
	conn.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	db := stdlib.OpenDB(*conn)
	defer func() { err = errors.Join(err, db.Close()) }()
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read the schema's version: %w", err)
	}
	if version > target {
		return nil, newer(version, target)
	}
	steps, err := pending(files, version, target)
	if err != nil {
		return nil, err
	}
	grants := grants(cfg.Writer, cfg.Reader)
	if cfg.DryRun {
		return append(steps, grants...), nil
	}
	if len(steps) > 0 {
		if err := apply(ctx, db, files, target, cfg.Logger); err != nil {
			return nil, err
		}
	}
	for _, g := range grants {
		if _, err := db.ExecContext(ctx, g.SQL); err != nil {
			return nil, fmt.Errorf("%s: %w", g.Name, grantFault(err))
		}
	}
	return append(steps, grants...), nil
}

// createSchema comes before goose, whose table is in it.
const createSchema = `CREATE SCHEMA IF NOT EXISTS tenantry;`

// pending are the migrations after a version, up to another.
func pending(files fs.FS, version, target int64) ([]Step, error) {
	var steps []Step
	if version == 0 {
		steps = append(steps, Step{Name: "make the schema", SQL: createSchema})
	}
	for _, name := range slices.Sorted(sourceNames(files)) {
		v, err := versionOf(name)
		if err != nil {
			return nil, err
		}
		if v <= version || v > target {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{Name: path.Base(name), SQL: string(text)})
	}
	return steps, nil
}

func apply(ctx context.Context, db *sql.DB, files fs.FS, target int64, log *slog.Logger) error {
	// Two who migrate an empty database at once must not both create the schema's name: "if not
	// exists" looks, and then creates.
	if _, err := db.ExecContext(ctx, `DO $$ BEGIN `+createSchema+` EXCEPTION WHEN unique_violation THEN NULL; END $$`); err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	below, err := fs.Sub(files, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, below,
		goose.WithTableName(versionTable), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	results, err := provider.UpTo(ctx, target)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, r := range results {
		log.Info("schema migrated", "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}

// grants is what the roles are allowed: all that changes goes through functions of the owner, so
// that no role of a server can write to a table, or create one.
func grants(writer, reader string) []Step {
	var steps []Step
	for _, role := range []struct{ name, as string }{{writer, "writer"}, {reader, "reader"}} {
		if role.name == "" {
			continue
		}
		name := pgx.Identifier{role.name}.Sanitize()
		text := "GRANT USAGE ON SCHEMA tenantry TO " + name + ";\n" +
			"GRANT SELECT ON tenantry.log_head, tenantry.streams, tenantry.runs, tenantry.events, tenantry.former_store_ids, tenantry.schema_versions TO " + name + ";\n"
		if role.as == "writer" {
			text += "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenantry TO " + name + ";\n"
		}
		steps = append(steps, Step{Name: "grant the " + role.as + " its rights", SQL: text})
	}
	return steps
}

func grantFault(err error) error {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == "42704" {
		return fmt.Errorf("%w: create it first: CREATE ROLE … LOGIN PASSWORD …", err)
	}
	return err
}

// CheckSchema returns nil if the database has the schema of this program, and else ErrSchemaOlder
// or ErrSchemaNewer.
func CheckSchema(ctx context.Context, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	shape, err := cfg.conn(cfg.URL)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, shape)
	if err != nil {
		return connectFault(ctx, err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return checkSchema(ctx, conn.PgConn())
}

const selectVersion = `SELECT COALESCE(max(version_id), 0) FROM ` + versionTable + ` WHERE is_applied`

func checkSchema(ctx context.Context, conn *pgconn.PgConn) error {
	var version int64
	err := query(ctx, conn, selectVersion, new(params), func(row [][]byte) error {
		version = asInt(row[0])
		return nil
	})
	if err != nil && !noSchema(err) {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	switch known := KnownSchema(); {
	case version == 0:
		return fmt.Errorf("%w: it has none yet: run tenantry migrate", ErrSchemaOlder)
	case version < known:
		return fmt.Errorf("%w: it is at version %d, and must be at %d: run tenantry migrate", ErrSchemaOlder, version, known)
	case version > known:
		return newer(version, known)
	}
	return nil
}

func newer(version, known int64) error {
	return fmt.Errorf("%w: it is at version %d, and this program knows %d: run a newer tenantry (its tenantry migrate has been run already)", ErrSchemaNewer, version, known)
}

// schemaVersion is that of the database; 0: it has none.
func schemaVersion(ctx context.Context, db *sql.DB) (int64, error) {
	var version int64
	err := db.QueryRowContext(ctx, selectVersion).Scan(&version)
	if noSchema(err) {
		return 0, nil
	}
	return version, err
}

// noSchema tells whether an error says that there is no such schema or table.
func noSchema(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refusal.Code == "42P01" || refusal.Code == "3F000")
}
