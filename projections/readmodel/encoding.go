package readmodel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// Schema is the version of the keys and values in doc.go. A generation with another one is
// not opened: it is built anew from the store.
const Schema = 2

// ErrDamaged says that a record of this copy cannot be read. It does not help to read it again:
// fold its stream anew, see [Tx.Forget].
var ErrDamaged = errors.New("damaged record")

// A record is a head of numbers and short strings, which a look-up skips through, and a body
// of JSON members without the braces, which it copies.
//
// head is read front to back; the first fault sticks, so that one check at the end is enough.
type head struct {
	b      []byte
	failed bool
}

func (h *head) number() uint64 {
	n, size := binary.Uvarint(h.b)
	if size <= 0 {
		h.failed = true
		return 0
	}
	h.b = h.b[size:]
	return n
}

// bytes shares memory with the record.
func (h *head) bytes() []byte {
	n := h.number()
	if h.failed || n > uint64(len(h.b)) {
		h.failed = true
		return nil
	}
	s := h.b[:n]
	h.b = h.b[n:]
	return s
}

func putString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// The flags of a record.
const (
	flagPurged      = 1 << 0
	flagQuarantined = 1 << 1
)

func flagIf(quarantined bool) uint64 {
	if quarantined {
		return flagQuarantined
	}
	return 0
}

// tenantHead is what a look-up needs of a tenant besides the bytes it copies. The byte
// slices share memory with the record.
type tenantHead struct {
	flags            uint64
	version          uint64
	position         uint64
	primary          []byte
	group            []byte
	database         []byte
	databaseName     []byte
	databasePosition uint64
	body             []byte
}

func (t tenantHead) purged() bool      { return t.flags&flagPurged != 0 }
func (t tenantHead) quarantined() bool { return t.flags&flagQuarantined != 0 }

func parseTenantHead(record []byte) (tenantHead, error) {
	h := head{b: record}
	t := tenantHead{
		flags:            h.number(),
		version:          h.number(),
		position:         h.number(),
		primary:          h.bytes(),
		group:            h.bytes(),
		database:         h.bytes(),
		databaseName:     h.bytes(),
		databasePosition: h.number(),
	}
	if h.failed {
		return tenantHead{}, ErrDamaged
	}
	t.body = h.b
	return t, nil
}

// tenantBody is the part of the tenant context that the tenant's own stream decides.
type tenantBody struct {
	ID         events.TenantID           `json:"tenant_id"`
	Name       string                    `json:"name"`
	Status     events.Status             `json:"status"`
	Hostnames  []events.Hostname         `json:"hostnames"`
	Primary    events.Hostname           `json:"primary_hostname,omitzero"`
	HomeRegion string                    `json:"home_region"`
	Products   map[string]events.Product `json:"products"`
	Config     map[string]jsontext.Value `json:"config"`
	Version    uint64                    `json:"version"`
}

// members is v as JSON members, without the braces; always the same bytes for the same v.
func members(dst []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true), json.FormatNilSliceAsNull(false), json.FormatNilMapAsNull(false))
	if err != nil {
		return nil, err
	}
	return append(dst, b[1:len(b)-1]...), nil
}

func decodeMembers(body []byte, v any) error {
	b := make([]byte, 0, len(body)+2)
	b = append(b, '{')
	b = append(b, body...)
	b = append(b, '}')
	return json.Unmarshal(b, v)
}

func encodeTenant(t events.Tenant, quarantined bool) ([]byte, error) {
	flags := flagIf(quarantined)
	if t.Status == events.StatusPurged {
		flags |= flagPurged
	}
	b := make([]byte, 0, 512)
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, t.Version)
	b = binary.AppendUvarint(b, t.Position)
	b = putString(b, t.Primary.String())
	b = putString(b, t.Group.String())
	b = putString(b, t.Database.ID.String())
	b = putString(b, t.Database.Name)
	b = binary.AppendUvarint(b, t.Database.Position)
	return members(b, tenantBody{
		ID: t.ID, Name: t.Name, Status: t.Status, Hostnames: t.Hostnames, Primary: t.Primary,
		HomeRegion: t.HomeRegion, Products: t.Products, Config: t.Config, Version: t.Version,
	})
}

// decodeTenant gives the state back that the next event folds into. CreatedAt and UpdatedAt
// are not kept: neither the fold nor the document needs them.
func decodeTenant(record []byte) (events.Tenant, bool, error) {
	h, err := parseTenantHead(record)
	if err != nil {
		return events.Tenant{}, false, err
	}
	var body tenantBody
	if err := decodeMembers(h.body, &body); err != nil {
		return events.Tenant{}, false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t := events.Tenant{
		ID: body.ID, Version: h.version, Position: h.position, Name: body.Name, Status: body.Status,
		Hostnames: body.Hostnames, Primary: body.Primary, HomeRegion: body.HomeRegion,
		Products: body.Products, Config: body.Config,
	}
	if err := t.Group.UnmarshalText(h.group); err != nil {
		return events.Tenant{}, false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := t.Database.ID.UnmarshalText(h.database); err != nil {
		return events.Tenant{}, false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t.Database.Name, t.Database.Position = string(h.databaseName), h.databasePosition
	return t, h.quarantined(), nil
}

// databaseBody is the part of the tenant context that a database's stream decides.
type databaseBody struct {
	ID        events.DatabaseID `json:"id"`
	Engine    string            `json:"engine"`
	Host      string            `json:"host"`
	Port      int               `json:"port"`
	SecretRef string            `json:"secret_ref"`
}

type databaseHead struct {
	flags            uint64
	version          uint64
	position         uint64
	endpointPosition uint64
	capacity         uint64
	status           []byte
	region           []byte
	body             []byte
}

func parseDatabaseHead(record []byte) (databaseHead, error) {
	h := head{b: record}
	d := databaseHead{
		flags:            h.number(),
		version:          h.number(),
		position:         h.number(),
		endpointPosition: h.number(),
		capacity:         h.number(),
		status:           h.bytes(),
		region:           h.bytes(),
	}
	if h.failed {
		return databaseHead{}, ErrDamaged
	}
	d.body = h.b
	return d, nil
}

func encodeDatabase(d events.Database, quarantined bool) ([]byte, error) {
	b := binary.AppendUvarint(make([]byte, 0, 256), flagIf(quarantined))
	b = binary.AppendUvarint(b, d.Version)
	b = binary.AppendUvarint(b, d.Position)
	b = binary.AppendUvarint(b, d.EndpointPosition)
	b = binary.AppendUvarint(b, uint64(d.Capacity))
	b = putString(b, string(d.Status))
	b = putString(b, d.Region)
	return members(b, databaseBody{
		ID: d.ID, Engine: d.Engine,
		Host: d.Endpoint.Host, Port: d.Endpoint.Port, SecretRef: d.Endpoint.SecretRef,
	})
}

func decodeDatabase(record []byte) (d events.Database, quarantined bool, err error) {
	h, err := parseDatabaseHead(record)
	if err != nil {
		return events.Database{}, false, err
	}
	var body databaseBody
	if err := decodeMembers(h.body, &body); err != nil {
		return events.Database{}, false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return events.Database{
		ID: body.ID, Version: h.version, Position: h.position, Status: events.DatabaseStatus(h.status),
		Engine: body.Engine, Region: string(h.region), Capacity: int(h.capacity),
		Endpoint:         events.Endpoint{Host: body.Host, Port: body.Port, SecretRef: body.SecretRef},
		EndpointPosition: h.endpointPosition,
	}, h.flags&flagQuarantined != 0, nil
}

// groupBody is the part of the tenant context that a group's stream decides.
type groupBody struct {
	ID   events.GroupID `json:"id"`
	Ring int            `json:"ring"`
}

type groupHead struct {
	flags    uint64
	version  uint64
	position uint64
	status   []byte
	name     []byte
	body     []byte
}

func parseGroupHead(record []byte) (groupHead, error) {
	h := head{b: record}
	g := groupHead{flags: h.number(), version: h.number(), position: h.number(), status: h.bytes(), name: h.bytes()}
	if h.failed {
		return groupHead{}, ErrDamaged
	}
	g.body = h.b
	return g, nil
}

func encodeGroup(g events.Group, quarantined bool) ([]byte, error) {
	b := binary.AppendUvarint(make([]byte, 0, 128), flagIf(quarantined))
	b = binary.AppendUvarint(b, g.Version)
	b = binary.AppendUvarint(b, g.Position)
	b = putString(b, string(g.Status))
	b = putString(b, g.Name)
	return members(b, groupBody{ID: g.ID, Ring: g.Ring})
}

func decodeGroup(record []byte) (g events.Group, quarantined bool, err error) {
	h, err := parseGroupHead(record)
	if err != nil {
		return events.Group{}, false, err
	}
	var body groupBody
	if err := decodeMembers(h.body, &body); err != nil {
		return events.Group{}, false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return events.Group{
		ID: body.ID, Version: h.version, Position: h.position,
		Status: events.GroupStatus(h.status), Name: string(h.name), Ring: body.Ring,
	}, h.flags&flagQuarantined != 0, nil
}

// claim is the value of a hostname's entry: who claimed it, or that it was released, and
// by the event at which position.
type claim struct {
	position uint64
	tenant   []byte // empty: released
}

func parseClaim(b []byte) (claim, error) {
	h := head{b: b}
	c := claim{position: h.number()}
	if h.failed {
		return claim{}, ErrDamaged
	}
	c.tenant = h.b
	return c, nil
}

func encodeClaim(position uint64, tenant events.TenantID) []byte {
	return append(binary.AppendUvarint(nil, position), tenant.String()...)
}

// The keys of doc.go.
const (
	prefixHostname   = "h/"
	prefixTenant     = "t/"
	prefixDatabase   = "d/"
	prefixGroup      = "g/"
	prefixQuarantine = "q/"
	prefixCheckpoint = "c/"
	prefixReleased   = "x/"
	prefixSums       = "s/"
	keyMeta          = "m"
)

func releasedKey(position uint64, hostname string) string {
	k := binary.BigEndian.AppendUint64([]byte(prefixReleased), position)
	return string(append(k, hostname...))
}

func parseReleasedKey(k []byte) (position uint64, hostname string, err error) {
	k, ok := cutPrefix(k, prefixReleased)
	if !ok || len(k) < 8 {
		return 0, "", ErrDamaged
	}
	return binary.BigEndian.Uint64(k), string(k[8:]), nil
}

func cutPrefix(k []byte, prefix string) ([]byte, bool) {
	if len(k) < len(prefix) || !strings.HasPrefix(string(k[:len(prefix)]), prefix) {
		return nil, false
	}
	return k[len(prefix):], true
}
