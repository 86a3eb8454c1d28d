package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// dropAtOnce is how many keys are dropped in one transaction.
const dropAtOnce = 1000

// DropKeys forgets idempotency keys first used before a time, and says how many, also when it
// ends with an error.
func (s *Store) DropKeys(ctx context.Context, before time.Time) (int, error) {
	dropped := 0
	for {
		n := 0
		err := s.read(ctx, s.cfg.StatementTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
			p := new(params).time(before).int4(dropAtOnce)
			return query(ctx, conn, `SELECT tenantry.drop_keys($1, $2)`, p, func(row [][]byte) error {
				n = int(asInt(row[0]))
				return nil
			})
		})
		if err != nil {
			return dropped, fmt.Errorf("drop idempotency keys: %w", err)
		}
		if dropped += n; n < dropAtOnce {
			return dropped, nil
		}
	}
}
