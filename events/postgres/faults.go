package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// What Open returns besides errors of the connection. Each says what to do.
var (
	// ErrSchemaOlder: the database has no schema of ours, or an older one. Run tenantry migrate.
	ErrSchemaOlder = errors.New("the database's schema is older than this program")
	// ErrSchemaNewer: the schema was made by a newer program. Never retry with this one.
	ErrSchemaNewer = errors.New("the database's schema is newer than this program")
)

// ErrUnknownOutcome is [events.ErrUnknownOutcome]: the connection was lost, or took too long, while a
// batch was being stored, and the server did not come back soon enough to be asked.
var ErrUnknownOutcome = events.ErrUnknownOutcome

var errClosed = fmt.Errorf("%w: it is closed", events.ErrUnavailable)

// errStale says that what a group was decided on has changed meanwhile: read and decide again.
var errStale = errors.New("what was read has changed")

// errNoPartition says that there is no table for the next positions yet.
var errNoPartition = errors.New("no partition for the next positions")

// readFault is the error of something that stores nothing. Where the server is away, or cannot
// do it now, that is ErrUnavailable, and ErrForbidden where we lack a right.
func (s *Store) readFault(ctx context.Context, err error) error {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	switch refusal, ok := errors.AsType[*pgconn.PgError](err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.tail.isClosed():
		return errClosed
	case lacksRight(err) != nil:
		return s.forbidden(refusal)
	case ok && !connecting && !passing(refusal):
		return err
	default:
		return fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
	}
}

// writeFault is the error of storing a group.
func (s *Store) writeFault(err error) error {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && refusal.Severity == "ERROR":
		// The server has undone the transaction before it said so.
		switch {
		case refusal.Code == "TN001", refusal.Code == "23505", refusal.Code == "40001", refusal.Code == "40P01":
			// The last two where the server's default is a stricter isolation, or somebody else takes locks.
			return fmt.Errorf("%w: %w", errStale, err)
		case refusal.Code == "23514" && strings.Contains(refusal.Message, "no partition"):
			return errNoPartition
		case lacksRight(err) != nil:
			return s.forbidden(refusal)
		case passing(refusal):
			return fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
		}
		return err
	case pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
	default:
		// Even an order to end ("FATAL: terminating connection") may come after the commit.
		return fmt.Errorf("%w: %s", ErrUnknownOutcome, plain(err))
	}
}

// passing tells whether a refusal of the server's is about its state and not about the
// statement, so that the same may succeed later.
func passing(e *pgconn.PgError) bool {
	switch e.Code {
	case "25006", // read-only: a standby, or a full disk's precaution
		"55P03", // lock not available
		"3D000": // the database is not there, as while it is restored
		return true
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "40", "53", "57", "58": // connection, rollback, resources, intervention, system
		return true
	}
	return false
}

// plain is an error's text in one line. Those of pgx name host, user and database, and no password.
func plain(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
