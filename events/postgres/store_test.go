package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/events/storetest"
)

func TestStore_KeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Data {
		url := database(t)
		return storetest.Data{
			Open: func(ctx context.Context) (storetest.Store, error) { return postgres.Open(ctx, patient(url)) },
			Kill: func(s storetest.Store) error { return cut(t, url, s) },
		}
	})
}

// cut ends a store as a kill of its process does for the server: all its connections are gone.
// What was not committed by then is undone. The store itself is closed afterwards, so that nothing
// of it runs on.
func cut(t *testing.T, url string, s storetest.Store) error {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	return errors.Join(err, conn.Close(ctx), s.Close())
}
