package postgres

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// Parameters and rows are in PostgreSQL's binary format, written and read here: a group of
// appends has tens of thousands of values, and a rebuild millions, and to look for the type of
// each by reflection costs more than the server does. Nothing is prepared on the server, so that
// a pooler may hand each statement to another connection.

// The types of the parameters, by their OIDs in pg_type, which are the same in every server.
const (
	oidBytea, oidByteaArray = 17, 1001
	oidInt8, oidInt8Array   = 20, 1016
	oidInt4, oidInt4Array   = 23, 1007
	oidText, oidTextArray   = 25, 1009
	oidTime, oidTimeArray   = 1184, 1185
	oidUUID, oidUUIDArray   = 2950, 2951
)

// epoch is where PostgreSQL's times count from, in microseconds since 1970.
const epoch = 946_684_800_000_000

// params are those of one statement.
type params struct {
	values  [][]byte
	oids    []uint32
	formats []int16
}

func (p *params) add(oid uint32, value []byte) *params {
	p.values, p.oids, p.formats = append(p.values, value), append(p.oids, oid), append(p.formats, 1)
	return p
}

func (p *params) text(s string) *params { return p.add(oidText, []byte(s)) }

func (p *params) int8(n int64) *params {
	return p.add(oidInt8, binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func (p *params) int4(n int) *params {
	return p.add(oidInt4, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func (p *params) uuid(id uuid.UUID) *params { return p.add(oidUUID, id[:]) }

func (p *params) time(at time.Time) *params {
	return p.add(oidTime, binary.BigEndian.AppendUint64(nil, uint64(micros(at))))
}

func (p *params) arrays(columns ...*array) *params {
	for _, c := range columns {
		p.add(c.oid, c.encode())
	}
	return p
}

// array is a parameter of many values of one type, none of them NULL.
type array struct {
	oid, element uint32
	n            int
	body         []byte // behind room for the header
}

const arrayHeader = 20

func newArray(oid, element uint32) *array {
	return &array{oid: oid, element: element, body: make([]byte, arrayHeader)}
}

func texts(values ...string) *array {
	a := newArray(oidTextArray, oidText)
	for _, v := range values {
		a.text(v)
	}
	return a
}

func int8s() *array  { return newArray(oidInt8Array, oidInt8) }
func int4s() *array  { return newArray(oidInt4Array, oidInt4) }
func byteas() *array { return newArray(oidByteaArray, oidBytea) }
func times() *array  { return newArray(oidTimeArray, oidTime) }
func uuids() *array  { return newArray(oidUUIDArray, oidUUID) }

func (a *array) begin(octets int) {
	a.n++
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(octets))
}

func (a *array) text(s string) {
	a.begin(len(s))
	a.body = append(a.body, s...)
}

func (a *array) bytes(b []byte) {
	a.begin(len(b))
	a.body = append(a.body, b...)
}

func (a *array) int8(n int64) {
	a.begin(8)
	a.body = binary.BigEndian.AppendUint64(a.body, uint64(n))
}

func (a *array) int4(n int) {
	a.begin(4)
	a.body = binary.BigEndian.AppendUint32(a.body, uint32(n))
}

func (a *array) time(at time.Time) { a.int8(micros(at)) }

func (a *array) encode() []byte {
	h := a.body[:0]
	if a.n == 0 { // no dimension
		h = binary.BigEndian.AppendUint32(h, 0)
		h = binary.BigEndian.AppendUint32(h, 0)
		return binary.BigEndian.AppendUint32(h, a.element)
	}
	for _, field := range []uint32{1, 0, a.element, uint32(a.n), 1} { // dimensions, NULLs, type, length, first index
		h = binary.BigEndian.AppendUint32(h, field)
	}
	return a.body
}

// micros is a time as PostgreSQL counts it. What it cannot hold becomes the first or the last
// that it can; checkForm lets no such time into an event.
func micros(at time.Time) int64 {
	const first, last = -4712, 294_275
	if y := at.Year(); y < first {
		at = time.Date(first, 1, 1, 0, 0, 0, 0, time.UTC)
	} else if y > last {
		at = time.Date(last, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return at.UnixMicro() - epoch
}

func asInt(value []byte) int64      { return int64(binary.BigEndian.Uint64(value)) }
func asTime(value []byte) time.Time { return time.UnixMicro(asInt(value) + epoch).UTC() }
