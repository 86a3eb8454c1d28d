package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// part is the streams from one to before another, where "" is no bound.
type part struct {
	whole     *whole
	tally     *events.Tally
	from, end string
}

// workMem is the memory that the server may sort a part in; beyond, it uses temporary files.
const workMem = `SET LOCAL work_mem = '64MB'`

func (p *part) Streams(ctx context.Context, yield func(stream []events.Event) error) error {
	s := p.whole.store
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("read the whole log: %w", s.readFault(ctx, err))
	}
	defer func() {
		hangUp(conn)
		<-conn.PgConn().CleanupDone() // where the connection was given up in the middle, somebody is at work on that
	}()
	rows := &copied{head: p.whole.head, yield: yield}
	if err := p.copy(ctx, conn.PgConn(), rows); err != nil {
		if rows.fault != nil {
			return rows.fault // the reason for what went wrong behind it
		}
		return fmt.Errorf("read the whole log: %w", s.readFault(ctx, err))
	}
	return p.tally.Done(rows.events)
}

func (p *part) copy(ctx context.Context, conn *pgconn.PgConn, rows *copied) error {
	if err := carryOut(ctx, conn, beginWhole, `SET TRANSACTION SNAPSHOT `+literal(p.whole.snapshot), limitsWhole, workMem); err != nil {
		return err
	}
	if _, err := conn.CopyTo(ctx, rows, p.statement()); err != nil {
		return err
	}
	return rows.end()
}

// statement leaves out what folding does not need: sorting it would take half as long again.
func (p *part) statement() string {
	where := ""
	if p.from != "" {
		where = ` WHERE stream >= ` + literal(p.from)
	}
	if p.end != "" {
		if where == "" {
			where = ` WHERE`
		} else {
			where += ` AND`
		}
		where += ` stream < ` + literal(p.end)
	}
	return `COPY (SELECT stream, version, position, id, type, time, data FROM tenantry.events` + where + ` ORDER BY stream, version) TO STDOUT (FORMAT binary)`
}

// literal quotes a string that has no quote in it.
func literal(s string) string { return `'` + s + `'` }

// copied takes rows in PostgreSQL's binary format of COPY and yields streams.
type copied struct {
	head  events.Head
	yield func([]events.Event) error
	fault error // of yield, or of what came

	rest   []byte // the beginning of a row whose end has not come yet
	begun  bool   // the header has been read
	done   bool   // the trailer has
	events uint64

	name   []byte // of the stream that is being put together
	stream []events.Event
	data   []byte // what its events' Data is cut from
}

// copyHeader is the signature, no flags, no extension.
var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

var errCopy = errors.New("the server's COPY is not what it should be")

// columns are those of part.statement.
const columns = 7

// Write takes what came.
func (c *copied) Write(b []byte) (int, error) {
	if err := c.take(b); err != nil {
		c.fault = err
		return 0, err
	}
	return len(b), nil
}

// take takes rows, which mostly come one at a time and whole.
func (c *copied) take(b []byte) error {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b = c.rest
	}
	if !c.begun {
		if len(b) < len(copyHeader) {
			c.rest = append(c.rest[:0], b...)
			return nil
		}
		if !bytes.HasPrefix(b, copyHeader) {
			return errCopy
		}
		b, c.begun = b[len(copyHeader):], true
	}
	for len(b) > 0 {
		size, err := c.row(b)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		b = b[size:]
	}
	c.rest = append(c.rest[:0], b...)
	return nil
}

// row takes the first row of b, and returns its size; 0: it is not whole.
func (c *copied) row(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	switch n := int16(binary.BigEndian.Uint16(b)); {
	case c.done:
		return 0, errCopy
	case n == -1:
		c.done = true
		return 2, nil
	case n != columns:
		return 0, errCopy
	}
	var fields [columns][]byte
	at := 2
	for i := range fields {
		if len(b) < at+4 {
			return 0, nil
		}
		size := int(int32(binary.BigEndian.Uint32(b[at:])))
		if size < 0 {
			return 0, errCopy // NULL, which no column is
		}
		if at += 4; len(b) < at+size {
			return 0, nil
		}
		fields[i] = b[at : at+size]
		at += size
	}
	return at, c.event(&fields)
}

func (c *copied) event(f *[columns][]byte) error {
	if len(f[1]) != 8 || len(f[2]) != 8 || len(f[3]) != 16 || len(f[5]) != 8 {
		return errCopy
	}
	var id events.StreamID
	if len(c.stream) > 0 && bytes.Equal(c.name, f[0]) {
		id = c.stream[0].Stream
	} else {
		if err := c.flush(); err != nil {
			return err
		}
		var err error
		if id, err = events.ParseStreamID(string(f[0])); err != nil {
			return fmt.Errorf("event at position %d: %w", asInt(f[2]), err)
		}
		c.name = append(c.name[:0], f[0]...)
	}
	from := len(c.data)
	c.data = append(c.data, f[6]...) // where it grows, what was cut from it before stays as it is
	c.stream = append(c.stream, events.Event{
		Stream: id, Version: uint64(asInt(f[1])), Position: uint64(asInt(f[2])), ID: uuid.UUID(f[3]),
		Type: events.TypeOf(f[4]), Time: asTime(f[5]), Data: c.data[from:len(c.data):len(c.data)],
	})
	return nil
}

// flush yields the stream that is complete.
func (c *copied) flush() error {
	if len(c.stream) == 0 {
		return nil
	}
	if err := events.CheckStream(c.stream, c.head); err != nil {
		return err
	}
	c.events += uint64(len(c.stream))
	err := c.yield(c.stream)
	c.stream, c.data = c.stream[:0], c.data[:0]
	return err
}

// end says whether all of it came, and yields the last stream.
func (c *copied) end() error {
	if !c.done || len(c.rest) > 0 {
		return errCopy
	}
	c.fault = c.flush()
	return c.fault
}
