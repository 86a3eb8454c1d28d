package postgres

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
)

// partitions is how far there are tables for the log, as far as the appender knows. It is the
// appender's alone.
type partitions struct {
	log  *slog.Logger
	head uint64 // at least so far is the log
	last uint64 // the last position that there is room for; 0: not asked yet
	size uint64 // of a table
}

// prepare makes tables for that many events more, and one besides, before they are needed: at
// the latest when half of the last table is left.
func (p *partitions) prepare(ctx context.Context, conn *pgconn.PgConn, room uint64) error {
	if p.last > 0 && p.head+room+p.size/2 <= p.last {
		return nil
	}
	var last, size uint64
	err := query(ctx, conn, `SELECT last_position, size FROM tenantry.make_partitions($1)`, new(params).int8(int64(room)), func(row [][]byte) error {
		last, size = uint64(asInt(row[0])), uint64(asInt(row[1]))
		return nil
	})
	if err != nil {
		if p.last > 0 && p.head+room <= p.last {
			// Not urgent yet. Somebody may hold a lock on the table.
			p.log.Warn("the next partition of the event log cannot be made; trying again with the next append", "position", p.head, "room_until", p.last, "err", plain(err))
			return nil
		}
		return err
	}
	p.last, p.size = last, size
	return nil
}

// reached notes how far the log is.
func (p *partitions) reached(position uint64) { p.head = max(p.head, position) }

// forget asks anew at the next append.
func (p *partitions) forget() { p.last = 0 }
