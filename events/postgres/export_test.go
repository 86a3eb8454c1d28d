package postgres

import "context"

// What the tests of plans ask the server to explain.
const (
	SelectRuns     = selectRuns
	SelectEventsAt = selectEventsAt
	SelectAfter    = selectAfter
)

// MigrateTo is Migrate, as an older program would.
func MigrateTo(ctx context.Context, cfg MigrateConfig, version int64) ([]Step, error) {
	return migrateTo(ctx, cfg, migrations, version)
}
