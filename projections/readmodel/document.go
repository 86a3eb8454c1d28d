package readmodel

import (
	"errors"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// ErrUnknown says that no tenant has that hostname or ID: it never had, has let it go, or
// was purged. As of the position that this model has applied.
var ErrUnknown = errors.New("no such tenant")

// Document is a look-up's answer: a tenant context, ready to send. It is shared between
// callers, and nobody may change it.
type Document struct {
	Body        []byte // JSON
	ETag        string // strong, quotes included; another for any other Body
	Tenant      events.TenantID
	Version     uint64 // of the tenant
	VersionText string // Version in decimal, so that a look-up formats nothing
	// Quarantined: an event of the tenant, its database or its group could not be folded, so
	// this is the context as it was before that event.
	Quarantined bool
}

// compose reads the parts of a tenant's document in one snapshot and puts them together.
// asked is the hostname that it was found by; empty: the primary one.
func compose(txn *badger.Txn, id []byte, asked string) (*Document, error) {
	item, err := txn.Get(append([]byte(prefixTenant), id...))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	record, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	t, err := parseTenantHead(record)
	if err != nil {
		return nil, err
	}
	if t.purged() {
		return nil, ErrUnknown
	}

	b := make([]byte, 0, len(record)+512)
	b = append(b, '{')
	if asked == "" {
		asked = string(t.primary)
	}
	if asked != "" {
		// A hostname is of a-z, 0-9, '-' and '.': nothing in it needs an escape in JSON.
		b = append(b, `"hostname":"`...)
		b = append(b, asked...)
		b = append(b, `",`...)
	}
	b = append(b, t.body...)
	flags := t.flags
	if len(t.group) > 0 {
		if b, err = appendGroup(b, txn, t.group, &flags); err != nil {
			return nil, err
		}
	}
	if len(t.database) > 0 {
		if b, err = appendDatabase(b, txn, t, &flags); err != nil {
			return nil, err
		}
	}
	b = append(b, '}')

	tenant, err := events.ParseTenantID(string(id))
	if err != nil {
		return nil, errors.Join(ErrDamaged, err)
	}
	return &Document{
		Body: b, ETag: etag(b), Tenant: tenant, Version: t.version,
		VersionText: strconv.FormatUint(t.version, 10), Quarantined: flags&flagQuarantined != 0,
	}, nil
}

func appendGroup(b []byte, txn *badger.Txn, id []byte, flags *uint64) ([]byte, error) {
	item, err := txn.Get(append([]byte(prefixGroup), id...))
	if errors.Is(err, badger.ErrKeyNotFound) {
		b = append(b, `,"group":{"id":"`...)
		b = append(b, id...)
		return append(b, `","pending":true}`...), flagPending(txn, id, flags)
	}
	if err != nil {
		return nil, err
	}
	return b, item.Value(func(record []byte) error {
		g, err := parseGroupHead(record)
		if err != nil {
			return err
		}
		*flags |= g.flags
		b = append(b, `,"group":{`...)
		b = append(b, g.body...)
		b = append(b, '}')
		return nil
	})
}

func appendDatabase(b []byte, txn *badger.Txn, t tenantHead, flags *uint64) ([]byte, error) {
	item, err := txn.Get(append([]byte(prefixDatabase), t.database...))
	if errors.Is(err, badger.ErrKeyNotFound) {
		b = append(b, `,"database":{"id":"`...)
		b = append(b, t.database...)
		return append(b, `","pending":true}`...), flagPending(txn, t.database, flags)
	}
	if err != nil {
		return nil, err
	}
	return b, item.Value(func(record []byte) error {
		d, err := parseDatabaseHead(record)
		if err != nil {
			return err
		}
		*flags |= d.flags
		b = append(b, `,"database":{`...)
		b = append(b, d.body...)
		b = append(b, `,"name":`...)
		if b, err = jsontext.AppendQuote(b, t.databaseName); err != nil {
			return err
		}
		b = append(b, `,"epoch":`...)
		b = strconv.AppendUint(b, max(t.databasePosition, d.endpointPosition), 10)
		b = append(b, '}')
		return nil
	})
}

// flagPending sets the flag where what is not there yet is missing because its first event could not
// be folded.
func flagPending(txn *badger.Txn, stream []byte, flags *uint64) error {
	_, err := txn.Get(append([]byte(prefixQuarantine), stream...))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	*flags |= flagQuarantined
	return err
}

// etag is a 64-bit hash of the whole document: whatever changes it changes the tag.
func etag(body []byte) string {
	return `"` + strconv.FormatUint(xxhash.Sum64(body), 16) + `"`
}
