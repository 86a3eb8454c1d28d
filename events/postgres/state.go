package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// query runs one statement and calls each with each of its rows. The values are valid during the
// call alone.
func query(ctx context.Context, conn *pgconn.PgConn, sql string, p *params, each func(row [][]byte) error) error {
	rows := conn.ExecParams(ctx, sql, p.values, p.oids, p.formats, []int16{1})
	var err error
	for rows.NextRow() {
		if err == nil {
			err = each(rows.Values())
		}
	}
	// Only its end tells that all of it came, and for a change that it is committed.
	if _, closeErr := rows.Close(); closeErr != nil {
		return closeErr
	}
	return err
}

// readState is all that the decisions on some batches will ask for, as of one moment.
func readState(ctx context.Context, conn *pgconn.PgConn, batches []*events.Batch) (snapshot, error) {
	s := snapshot{
		streams: make(map[events.StreamID]state),
		holders: make(map[events.Hostname]events.StreamID),
		edges:   make(map[edge]bool),
		keys:    make(map[string]keyRow),
	}
	p := new(params).arrays(wanted(batches)...)
	err := query(ctx, conn, `SELECT * FROM tenantry.read_state($1, $2, $3, $4, $5)`, p, s.take)
	return s, err
}

// wanted are the parameters of read_state, each name once.
func wanted(batches []*events.Batch) []*array {
	streams, hostnames, to, from, keys := texts(), texts(), texts(), texts(), texts()
	seenStreams := make(map[events.StreamID]bool)
	stream := func(id events.StreamID) {
		if !seenStreams[id] {
			seenStreams[id] = true
			streams.text(id.String())
		}
	}
	seenHostnames := make(map[events.Hostname]bool)
	hostname := func(h events.Hostname) {
		if !seenHostnames[h] {
			seenHostnames[h] = true
			hostnames.text(h.String())
		}
	}
	seenEdges := make(map[edge]bool)
	refers := func(e edge) {
		if !seenEdges[e] {
			seenEdges[e] = true
			to.text(e.to.String())
			from.text(e.from.String())
		}
	}
	seenKeys := make(map[string]bool)
	for _, b := range batches {
		stream(b.Stream)
		for _, h := range b.Release {
			hostname(h)
		}
		for _, h := range b.Take {
			hostname(h)
		}
		for _, id := range b.Unrefer {
			stream(id)
			refers(edge{id, b.Stream})
		}
		for _, r := range b.Refer {
			stream(r.To)
			refers(edge{r.To, b.Stream})
		}
		if b.Key != nil && !seenKeys[b.Key.Key] {
			seenKeys[b.Key.Key] = true
			keys.text(b.Key.Key)
		}
	}
	return []*array{streams, hostnames, to, from, keys}
}

// take puts a row of read_state where it belongs: what, name, other, version, position, count, fingerprint.
func (s *snapshot) take(row [][]byte) error {
	name := string(row[1])
	switch what := string(row[0]); what {
	case "s":
		id, err := events.ParseStreamID(name)
		if err != nil {
			return err
		}
		s.streams[id] = state{version: uint64(asInt(row[3])), position: place{position: uint64(asInt(row[4]))}, referrers: asInt(row[5])}
	case "c":
		h, err := events.ParseHostname(name)
		if err != nil {
			return err
		}
		if s.holders[h], err = events.ParseStreamID(string(row[2])); err != nil {
			return err
		}
	case "r":
		to, err := events.ParseStreamID(name)
		if err != nil {
			return err
		}
		from, err := events.ParseStreamID(string(row[2]))
		if err != nil {
			return err
		}
		s.edges[edge{to, from}] = true
	case "k":
		id, err := events.ParseStreamID(string(row[2]))
		if err != nil {
			return err
		}
		if len(row[6]) != 32 {
			return fmt.Errorf("idempotency key %q has a fingerprint of %d octets", name, len(row[6]))
		}
		s.keys[name] = keyRow{
			fingerprint: [32]byte(row[6]), stream: id,
			version: uint64(asInt(row[3])), position: uint64(asInt(row[4])), events: int(asInt(row[5])),
		}
	default:
		return fmt.Errorf("a state of the unknown kind %q", what)
	}
	return nil
}

const appendSQL = `SELECT base, identity FROM tenantry.append(
	$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
	$26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50)`

// write stores what the group changes if all that it has read is still so, and returns the
// position of the log before it, and whose it is. It is one statement, and so one transaction, which the server
// ends by itself: a caller that stops in the middle holds no lock.
func (g *group) write(ctx context.Context, conn *pgconn.PgConn) (base uint64, identity uuid.UUID, err error) {
	p := new(params).uuid(g.call)
	newStreams, oldStreams, readStreams := g.streamArrays()
	readClaims, claims := g.claimArrays()
	p.arrays(readStreams...).arrays(readClaims...).arrays(texts(g.newKeys...))
	p.arrays(newStreams...).arrays(oldStreams...).arrays(claims...)
	p.arrays(g.edgeArrays()...).arrays(g.keyArrays()...).arrays(g.eventArrays()...)
	err = query(ctx, conn, appendSQL, p, func(row [][]byte) error {
		base, identity = uint64(asInt(row[0])), uuid.UUID(row[1])
		return nil
	})
	return base, identity, err
}

// streamArrays are the streams that have no row yet, those that have one, and those that were
// only looked at.
func (g *group) streamArrays() (fresh, old, read []*array) {
	fresh = []*array{texts(), int8s(), int8s(), int8s()}
	old = []*array{texts(), int8s(), int8s(), int8s(), int8s(), int8s(), int8s()}
	read = []*array{texts(), int8s(), int8s(), int8s()}
	for id, now := range g.streams {
		was, exists := g.base.streams[id]
		b, bound := g.guards[id]
		if !bound {
			b = guard{0, math.MaxInt64}
		}
		switch {
		case now == was:
			read[0].text(id.String())
			read[1].int8(int64(was.version))
			read[2].int8(b.least)
			read[3].int8(b.most)
		case exists:
			old[0].text(id.String())
			old[1].int8(int64(was.version))
			old[2].int8(int64(now.version))
			old[3].int8(int64(now.position.ahead))
			old[4].int8(now.referrers - was.referrers)
			old[5].int8(b.least)
			old[6].int8(b.most)
		default:
			fresh[0].text(id.String())
			fresh[1].int8(int64(now.version))
			fresh[2].int8(int64(now.position.ahead))
			fresh[3].int8(now.referrers)
		}
	}
	return fresh, old, read
}

func (g *group) claimArrays() (read, changed []*array) {
	read = []*array{texts(), texts()}
	changed = []*array{texts(), texts(), texts(), texts()}
	for h, now := range g.holders {
		was := g.base.holders[h]
		if now == was {
			read[0].text(h.String())
			read[1].text(was.String())
			continue
		}
		if !was.IsZero() {
			changed[0].text(h.String())
			changed[1].text(was.String())
		}
		if !now.IsZero() {
			changed[2].text(h.String())
			changed[3].text(now.String())
		}
	}
	return read, changed
}

// edgeArrays has no part for what was only read: a stream's references change with its
// version, which is guarded.
func (g *group) edgeArrays() []*array {
	out := []*array{texts(), texts(), texts(), texts()}
	for e, now := range g.edges {
		switch was := g.base.edges[e]; {
		case was && !now:
			out[0].text(e.to.String())
			out[1].text(e.from.String())
		case now && !was:
			out[2].text(e.to.String())
			out[3].text(e.from.String())
		}
	}
	return out
}

func (g *group) keyArrays() []*array {
	names, fingerprints, used, streams := texts(), byteas(), times(), texts()
	versions, positions, aheads, counts := int8s(), int8s(), int8s(), int4s()
	for _, a := range g.keys {
		names.text(a.key.Key)
		fingerprints.bytes(a.key.Fingerprint[:])
		used.time(a.key.Time)
		streams.text(a.stream.String())
		versions.int8(int64(a.version))
		positions.int8(int64(a.position.position))
		aheads.int8(int64(a.position.ahead))
		counts.int4(len(a.events))
	}
	return []*array{names, fingerprints, used, streams, versions, positions, aheads, counts}
}

func (g *group) eventArrays() []*array {
	runStreams, runVersions, runAheads, runEvents := texts(), int8s(), int8s(), int4s()
	streams, versions, ids, types, at := texts(), int8s(), uuids(), texts(), times()
	actors, reasons, correlations, causations, traceparents, data := texts(), texts(), texts(), texts(), texts(), texts()
	for _, r := range g.runs {
		runStreams.text(r.stream.String())
		runVersions.int8(int64(r.events[len(r.events)-1].Version))
		runAheads.int8(int64(r.last))
		runEvents.int4(len(r.events))
		for i := range r.events {
			e := &r.events[i]
			streams.text(e.Stream.String())
			versions.int8(int64(e.Version))
			ids.bytes(e.ID[:])
			types.text(string(e.Type))
			at.time(e.Time)
			actors.text(e.Actor)
			reasons.text(e.Reason)
			correlations.text(e.CorrelationID)
			causations.text(e.CausationID)
			traceparents.text(e.Traceparent)
			data.bytes(e.Data)
		}
	}
	return []*array{
		runStreams, runVersions, runAheads, runEvents,
		streams, versions, ids, types, at, actors, reasons, correlations, causations, traceparents, data,
	}
}
