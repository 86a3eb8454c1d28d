package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// part is some consecutive ranges of a spread log.
type part struct {
	whole  *whole
	tally  *events.Tally
	ranges []*streamRange
}

func (p *part) Streams(ctx context.Context, yield func(stream []events.Event) error) error {
	w := p.whole
	w.reading.RLock()
	defer w.reading.RUnlock()
	if w.spread == nil {
		return fmt.Errorf("read the whole log: %w", errClosed)
	}
	count := uint64(0)
	var order sorter
	for _, r := range p.ranges {
		var own error
		err := order.streams(ctx, w.spread, r, func(stream []events.Event) error {
			if err := events.CheckStream(stream, w.head); err != nil {
				return err
			}
			count += uint64(len(stream))
			own = yield(stream)
			return own
		})
		if own != nil {
			return own
		}
		if err != nil {
			return fmt.Errorf("read the whole log: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.tally.Done(count)
}

// copied takes rows in PostgreSQL's binary format of COPY.
type copied struct {
	each  func(row []byte, fields *[columns][]byte) error
	fault error // of each, or of what came
	rest  []byte
	begun bool // the header has been read
	done  bool // the trailer has
	count uint64
	told  func(more uint64) // now and then, how many rows came since it was called last
}

// copyHeader is the signature, no flags, no extension.
var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

var errCopy = errors.New("the server's COPY is not what it should be")

// columns are those of copyRows.
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
	for len(b) >= 2 {
		if c.done {
			return errCopy
		}
		if binary.BigEndian.Uint16(b) == 1<<16-1 { // the trailer
			b, c.done = b[2:], true
			continue
		}
		var fields [columns][]byte
		size, err := fieldsOf(b, &fields)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := c.each(b[:size], &fields); err != nil {
			return err
		}
		if c.count++; c.count%tellEvery == 0 {
			c.told(tellEvery)
		}
		b = b[size:]
	}
	c.rest = append(c.rest[:0], b...)
	return nil
}

// end says whether all of it came.
func (c *copied) end() error {
	if !c.done || len(c.rest) > 0 {
		c.fault = errCopy
	}
	if rest := c.count % tellEvery; rest > 0 && c.fault == nil {
		c.told(rest)
	}
	return c.fault
}

// fieldsOf finds the fields of the first row of b, and returns its size; 0: it is not whole.
func fieldsOf(b []byte, fields *[columns][]byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	if binary.BigEndian.Uint16(b) != columns {
		return 0, errCopy
	}
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
		fields[i] = b[at : at+size : at+size]
		at += size
	}
	if len(fields[1]) != 8 || len(fields[2]) != 8 || len(fields[3]) != 16 || len(fields[5]) != 8 {
		return 0, errCopy
	}
	return at, nil
}

// foldable is what folding needs of a row's event. It shares memory with the row.
func foldable(id events.StreamID, row []byte) (events.Event, error) {
	var f [columns][]byte
	if size, err := fieldsOf(row, &f); err != nil || size == 0 {
		return events.Event{}, errors.Join(errCopy, err)
	}
	return events.Event{
		Stream: id, Version: uint64(asInt(f[1])), Position: uint64(asInt(f[2])), ID: uuid.UUID(f[3]),
		Type: events.TypeOf(f[4]), Time: asTime(f[5]), Data: f[6],
	}, nil
}
