package readmodel

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// described is a stream's records in words.
type described struct {
	Stream           string              `json:"stream,omitempty"`
	Version          uint64              `json:"version,omitzero"`
	Position         uint64              `json:"position,omitzero"`
	Purged           bool                `json:"purged,omitzero"`
	Quarantined      bool                `json:"quarantined,omitzero"`
	Status           string              `json:"status,omitempty"`
	Name             string              `json:"name,omitempty"`
	Region           string              `json:"region,omitempty"`
	Capacity         uint64              `json:"capacity,omitzero"`
	EndpointPosition uint64              `json:"endpoint_position,omitzero"`
	Primary          string              `json:"primary_hostname,omitempty"`
	Group            string              `json:"group,omitempty"`
	Database         *describedDatabase  `json:"database,omitempty"`
	Context          jsontext.Value      `json:"context,omitempty"` // what look-ups answer of it
	Hostnames        []describedHostname `json:"hostname_entries,omitempty"`
	Damaged          []describedDamage   `json:"damaged,omitempty"`
}

type describedDatabase struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Position uint64 `json:"position"`
}

type describedHostname struct {
	Hostname string `json:"hostname"`
	Tenant   string `json:"tenant,omitempty"` // none: it was let go
	Position uint64 `json:"position"`
}

type describedDamage struct {
	Key    string `json:"key"`
	Octets string `json:"octets"` // hexadecimal, the first of them
}

// Describe is what a stream's records say, as JSON in lines that can be compared one by one.
func Describe(kvs []KV) jsontext.Value {
	var d described
	for _, kv := range kvs {
		if !d.add(kv) {
			octets := kv.Value[:min(len(kv.Value), 64)]
			d.Damaged = append(d.Damaged, describedDamage{Key: strings.ToValidUTF8(kv.Key, "\uFFFD"), Octets: hex.EncodeToString(octets)})
		}
	}
	b, err := json.Marshal(d, jsontext.WithIndent("  "), jsontext.AllowInvalidUTF8(true))
	if err != nil { // what is described was checked when it was added
		b, _ = json.Marshal(map[string]string{"damaged": strings.ToValidUTF8(err.Error(), "\uFFFD")}) // a string always is JSON
	}
	return b
}

// add says false where the record cannot be read.
func (d *described) add(kv KV) bool {
	if len(kv.Key) < 2 {
		return false
	}
	id := kv.Key[2:]
	switch kv.Key[:2] {
	case prefixTenant:
		t, err := parseTenantHead(kv.Value)
		if _, _, bad := decodeTenant(kv.Value); err != nil || bad != nil {
			return false
		}
		d.Stream, d.Version, d.Position, d.Purged, d.Quarantined = id, t.version, t.position, t.purged(), t.quarantined()
		d.Primary, d.Group = string(t.primary), string(t.group)
		if len(t.database) > 0 {
			d.Database = &describedDatabase{ID: string(t.database), Name: string(t.databaseName), Position: t.databasePosition}
		}
		return d.context(t.body)
	case prefixDatabase:
		h, err := parseDatabaseHead(kv.Value)
		if err != nil {
			return false
		}
		d.Stream, d.Version, d.Position, d.Quarantined = id, h.version, h.position, h.flags&flagQuarantined != 0
		d.Status, d.Region, d.Capacity, d.EndpointPosition = string(h.status), string(h.region), h.capacity, h.endpointPosition
		return d.context(h.body)
	case prefixGroup:
		h, err := parseGroupHead(kv.Value)
		if err != nil {
			return false
		}
		d.Stream, d.Version, d.Position, d.Quarantined = id, h.version, h.position, h.flags&flagQuarantined != 0
		d.Status, d.Name = string(h.status), string(h.name)
		return d.context(h.body)
	case prefixHostname:
		c, err := parseClaim(kv.Value)
		if err != nil {
			return false
		}
		d.Hostnames = append(d.Hostnames, describedHostname{Hostname: id, Tenant: string(c.tenant), Position: c.position})
		return true
	}
	return false
}

func (d *described) context(body []byte) bool {
	b := append(append([]byte{'{'}, body...), '}')
	if !jsontext.Value(b).IsValid() {
		return false
	}
	d.Context = b
	return true
}

// Document is what the model has of a stream, as [Describe] says it: its record, the entries of the hostnames
// that the record names, and other keys that are asked for.
func (i *Inspection) Document(stream events.StreamID, keys ...string) (jsontext.Value, error) {
	var kvs []KV
	seen := make(map[string]bool)
	take := func(key string) error {
		if seen[key] {
			return nil
		}
		seen[key] = true
		value, err := i.Record(key)
		if errors.Is(err, ErrUnknown) {
			return nil
		}
		if err == nil {
			kvs = append(kvs, KV{Key: key, Value: value})
		}
		return err
	}
	if err := take(RecordKey(stream)); err != nil {
		return nil, err
	}
	if stream.Kind() == events.KindTenant && len(kvs) > 0 {
		if t, _, err := decodeTenant(kvs[0].Value); err == nil {
			for _, h := range t.Hostnames {
				keys = append(keys, prefixHostname+h.String())
			}
		}
	}
	for _, key := range keys {
		if err := take(key); err != nil {
			return nil, err
		}
	}
	sortHostnames(kvs)
	return Describe(kvs), nil
}

// RecordKey is the key of a stream's own record.
func RecordKey(stream events.StreamID) string { return prefixOf(stream) + stream.String() }

// HostnameKey is the key of a hostname's entry.
func HostnameKey(h events.Hostname) string { return prefixHostname + h.String() }
