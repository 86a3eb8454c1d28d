package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/events/postgres"
)

const schemasOfOurs = `SELECT count(*)::text FROM pg_namespace WHERE nspname = 'tenantry'`

func TestMigrate_EmptyDatabase_IsBroughtToTheKnownVersionAndIsThenLeftAlone(t *testing.T) {
	url := emptyDatabase(t)
	cfg := postgres.MigrateConfig{Config: patient(url)}
	if err := postgres.CheckSchema(t.Context(), cfg.Config); !errors.Is(err, postgres.ErrSchemaOlder) || !strings.Contains(err.Error(), "tenantry migrate") {
		t.Errorf("check before: got %v, want ErrSchemaOlder that names tenantry migrate", err)
	}
	steps := migrate(t, cfg)
	if got, want := len(steps), int(postgres.KnownSchema())+1; got != want {
		t.Errorf("steps: got %d, want %d: the schema's name and each version", got, want)
	}
	if err := postgres.CheckSchema(t.Context(), cfg.Config); err != nil {
		t.Errorf("check after: %v", err)
	}
	if steps := migrate(t, cfg); len(steps) != 0 {
		t.Errorf("migrated again: got %d steps, want none", len(steps))
	}
	if _, err := open(t, cfg.Config).Append(t.Context(), registration(t, 1)); err != nil {
		t.Errorf("append: %v", err)
	}
}

func TestMigrate_DryRun_TellsTheSQLAndChangesNothing(t *testing.T) {
	url := emptyDatabase(t)
	cfg := postgres.MigrateConfig{Config: patient(url), DryRun: true, Writer: "some_writer", Reader: `odd"reader`}
	var text strings.Builder
	for _, s := range migrate(t, cfg) {
		text.WriteString(s.Name + "\n" + s.SQL + "\n")
	}
	for _, want := range []string{
		"CREATE SCHEMA IF NOT EXISTS tenantry", "00001_event_store.sql", "00002_lost_store_ids.sql", "CREATE TABLE tenantry.events", "CREATE FUNCTION tenantry.append",
		`GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tenantry TO "some_writer"`, `TO "odd""reader"`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the SQL does not have %q", want)
		}
	}
	if got := ask(t, url, schemasOfOurs); got != "0" {
		t.Errorf("schemas after a dry run: got %s, want 0", got)
	}
}

func TestMigrate_ManyAtOnce_AllSucceed(t *testing.T) {
	cfg := postgres.MigrateConfig{Config: patient(emptyDatabase(t))}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := postgres.Migrate(t.Context(), cfg); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	if err := postgres.CheckSchema(t.Context(), cfg.Config); err != nil {
		t.Error(err)
	}
}

func TestMigrate_RoleThatIsNotThere_SaysHowToMakeOne(t *testing.T) {
	cfg := postgres.MigrateConfig{Config: patient(emptyDatabase(t)), Writer: "nobody_at_all"}
	if _, err := postgres.Migrate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "CREATE ROLE") {
		t.Errorf("got %v, want an error that names CREATE ROLE", err)
	}
}

func TestOpen_SchemaOlderOrNewerOrNone_IsRefusedWithWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		want   error
		names  string
	}{
		"older": {`DELETE FROM tenantry.schema_versions WHERE version_id > 0`, postgres.ErrSchemaOlder, "tenantry migrate"},
		"newer": {`INSERT INTO tenantry.schema_versions (version_id, is_applied) VALUES (9999, true)`, postgres.ErrSchemaNewer, "newer tenantry"},
		"none":  {`DROP SCHEMA tenantry CASCADE`, postgres.ErrSchemaOlder, "tenantry migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			exec(t, url, c.change)
			s, err := postgres.Open(t.Context(), patient(url))
			if err == nil {
				t.Fatalf("open: got a store, want %v (close: %v)", c.want, s.Close())
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) || strings.Contains(err.Error(), "\n") {
				t.Errorf("open: got %q, want %q in one line that names %q", err, c.want, c.names)
			}
			if err := postgres.CheckSchema(t.Context(), patient(url)); !errors.Is(err, c.want) {
				t.Errorf("check: got %v, want %v", err, c.want)
			}
			if name == "newer" {
				if _, err := postgres.Migrate(t.Context(), postgres.MigrateConfig{Config: patient(url)}); !errors.Is(err, c.want) {
					t.Errorf("migrate: got %v, want %v", err, c.want)
				}
			}
		})
	}
}

func TestOpen_ContextThatHasEnded_IsItsError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.Open(ctx, patient(database(t))); !errors.Is(err, context.Canceled) {
		t.Errorf("open: got %v, want Canceled", err)
	}
}
