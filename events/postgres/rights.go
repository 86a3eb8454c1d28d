package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// tellRightEvery is how often the log repeats that a right is missing: each command and each poll
// meets it.
const tellRightEvery = time.Hour

// lacksRight is the server's refusal of a statement for which the role lacks a right (42501), also
// of the connection itself; nil: err is something else.
func lacksRight(err error) *pgconn.PgError {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == "42501" {
		return refusal
	}
	return nil
}

// forbidden is events.ErrForbidden with what is missing and how an operator grants it. A right that is
// missing while the store is in use is logged, and not each time.
func (s *Store) forbidden(refusal *pgconn.PgError) error {
	err := forbidden(s.role, s.cfg.ReadOnly, refusal)
	if last, told := s.told.Load(refusal.Message); !told || time.Since(last.(time.Time)) > tellRightEvery { //nolint:forcetypeassert // the next line's
		s.told.Store(refusal.Message, time.Now())
		s.log.Error("the database's role lacks a right, and somebody has to grant it", "role", s.role, "err", err)
	}
	return err
}

func forbidden(role string, readOnly bool, refusal *pgconn.PgError) error {
	// "permission denied for database …", with a detail, is of who may not even connect.
	if strings.Contains(refusal.Message, "database") {
		return fmt.Errorf("%w: %s: as the database's owner: GRANT CONNECT ON DATABASE … TO %s", events.ErrForbidden, plain(refusal), role)
	}
	return fmt.Errorf("%w: %s: %s", events.ErrForbidden, plain(refusal), howToGrant(role, readOnly))
}

// howToGrant is the command that grants a role all that it needs.
func howToGrant(role string, readOnly bool) string {
	flag := "--writer-role"
	if readOnly {
		flag = "--reader-role"
	}
	return fmt.Sprintf("run tenantry migrate %s %s with the owner's --database-url", flag, role)
}

// What a reader and a writer need; grants are the same in Migrate.
const (
	rightsOfReader = `SELECT 'SELECT on ' || t FROM unnest(ARRAY['log_head', 'streams', 'runs', 'events', 'former_store_ids', 'schema_versions']) t
		WHERE NOT has_table_privilege('tenantry.' || t, 'SELECT')`
	rightsOfWriter = rightsOfReader + ` UNION ALL SELECT 'EXECUTE on ' || p.proname FROM pg_proc p
		WHERE p.pronamespace = 'tenantry'::regnamespace AND p.prorettype <> 'trigger'::regtype AND NOT has_function_privilege(p.oid, 'EXECUTE')`
)

// checkRights refuses a role that lacks a right, before a command or a region finds out.
func checkRights(ctx context.Context, conn *pgconn.PgConn, role string, readOnly bool) error {
	statement := rightsOfWriter
	if readOnly {
		statement = rightsOfReader
	}
	var missing []string
	err := query(ctx, conn, statement, new(params), func(row [][]byte) error {
		missing = append(missing, string(row[0]))
		return nil
	})
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: the role %s has no %s: %s", events.ErrForbidden, role, strings.Join(missing, ", no "), howToGrant(role, readOnly))
	}
	return err
}
