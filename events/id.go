package events

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Kind is what a stream is about: one aggregate of the catalogue.
type Kind string

// The kinds of stream.
const (
	KindTenant   Kind = "tenant"
	KindDatabase Kind = "database"
	KindGroup    Kind = "group"
)

// prefix is how every ID of this kind begins.
func (k Kind) prefix() string {
	switch k {
	case KindTenant:
		return "ten_"
	case KindDatabase:
		return "db_"
	case KindGroup:
		return "grp_"
	}
	return ""
}

// maxSuffix is the most characters that may stand behind the prefix of an ID: a DNS label's.
const maxSuffix = 63

// isSlug reports whether s is ^[a-z0-9][a-z0-9-]{0,62}$. A loop, since every record that a
// region reads goes through here, and a regexp is 20 times slower.
func isSlug(s string) bool {
	if s == "" || len(s) > maxSuffix || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// aggregate marks the phantom types below, which make an ID of one kind a Go type of its own.
type aggregate interface{ kind() Kind }

type (
	tenantKind   struct{}
	databaseKind struct{}
	groupKind    struct{}
)

func (tenantKind) kind() Kind   { return KindTenant }
func (databaseKind) kind() Kind { return KindDatabase }
func (groupKind) kind() Kind    { return KindGroup }

// ID names one aggregate of kind K, prefix included ("ten_acme"). The zero ID names
// nothing. IDs of two kinds neither assign nor convert to one another: the array of K
// makes their underlying types differ, and costs no space.
type ID[K aggregate] struct {
	_ [0]K
	s string
}

// The three kinds of ID.
type (
	TenantID   = ID[tenantKind]
	DatabaseID = ID[databaseKind]
	GroupID    = ID[groupKind]
)

// ParseTenantID reads "ten_…"; the error says what an ID looks like.
func ParseTenantID(s string) (TenantID, error) { return parseID[tenantKind](s) }

// ParseDatabaseID reads "db_…"; the error says what an ID looks like.
func ParseDatabaseID(s string) (DatabaseID, error) { return parseID[databaseKind](s) }

// ParseGroupID reads "grp_…"; the error says what an ID looks like.
func ParseGroupID(s string) (GroupID, error) { return parseID[groupKind](s) }

// NewTenantID makes an ID that no one has: a UUIDv7 behind the prefix.
func NewTenantID() TenantID { return newID[tenantKind]() }

// TenantIDOf makes the ID that this content always has, and no other: a UUIDv8 of its SHA-256 behind
// the prefix.
func TenantIDOf(content []byte) TenantID {
	return TenantID{s: KindTenant.prefix() + uuid.NewHash(sha256.New(), uuid.Nil, content, 8).String()}
}

// NewDatabaseID makes an ID that no one has: a UUIDv7 behind the prefix.
func NewDatabaseID() DatabaseID { return newID[databaseKind]() }

// NewGroupID makes an ID that no one has: a UUIDv7 behind the prefix.
func NewGroupID() GroupID { return newID[groupKind]() }

func newID[K aggregate]() ID[K] {
	var k K
	return ID[K]{s: k.kind().prefix() + uuid.Must(uuid.NewV7()).String()}
}

func parseID[K aggregate](s string) (ID[K], error) {
	var k K
	if err := checkID(k.kind(), s); err != nil {
		return ID[K]{}, err
	}
	return ID[K]{s: s}, nil
}

func checkID(k Kind, s string) error {
	suffix, ok := strings.CutPrefix(s, k.prefix())
	if !ok || !isSlug(suffix) {
		return fmt.Errorf("%q is not a %s ID: it is %q and then 1 to 63 of a-z, 0-9 and -, not beginning with -", s, k, k.prefix())
	}
	return nil
}

// String is the whole ID, prefix included; "" for the zero ID.
func (id ID[K]) String() string { return id.s }

// Suffix is the part behind the prefix.
func (id ID[K]) Suffix() string {
	var k K
	return strings.TrimPrefix(id.s, k.kind().prefix())
}

// IsZero tells whether the ID names nothing; encoding/json's omitzero asks it.
func (id ID[K]) IsZero() bool { return id.s == "" }

// Stream is the stream of the aggregate that this ID names.
func (id ID[K]) Stream() StreamID {
	var k K
	return StreamID{kind: k.kind(), s: id.s}
}

// MarshalText writes the ID as it is read.
func (id ID[K]) MarshalText() ([]byte, error) { return []byte(id.s), nil }

// UnmarshalText reads what MarshalText writes; "" is the zero ID, anything else must parse.
func (id *ID[K]) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID[K]{}
		return nil
	}
	parsed, err := parseID[K](string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// StreamID names a stream of any kind. It is comparable, and the zero StreamID names nothing.
type StreamID struct {
	kind Kind
	s    string
}

// ParseStreamID reads an ID of any kind.
func ParseStreamID(s string) (StreamID, error) {
	for _, k := range []Kind{KindTenant, KindDatabase, KindGroup} {
		if strings.HasPrefix(s, k.prefix()) {
			if err := checkID(k, s); err != nil {
				return StreamID{}, err
			}
			return StreamID{kind: k, s: s}, nil
		}
	}
	return StreamID{}, fmt.Errorf("%q is not a stream ID: it begins with ten_, db_ or grp_", s)
}

// Kind is what the stream is about.
func (id StreamID) Kind() Kind { return id.kind }

// String is the ID, prefix included; it is also the key of the stream's Kafka records.
func (id StreamID) String() string { return id.s }

// IsZero tells whether the ID names nothing.
func (id StreamID) IsZero() bool { return id.s == "" }

// Tenant is the ID as a tenant's; false for a stream of another kind.
func (id StreamID) Tenant() (TenantID, bool) {
	if id.kind != KindTenant {
		return TenantID{}, false
	}
	return TenantID{s: id.s}, true
}

// Database is the ID as a database's; false for a stream of another kind.
func (id StreamID) Database() (DatabaseID, bool) {
	if id.kind != KindDatabase {
		return DatabaseID{}, false
	}
	return DatabaseID{s: id.s}, true
}

// Group is the ID as a group's; false for a stream of another kind.
func (id StreamID) Group() (GroupID, bool) {
	if id.kind != KindGroup {
		return GroupID{}, false
	}
	return GroupID{s: id.s}, true
}

// MarshalText writes the ID as it is read.
func (id StreamID) MarshalText() ([]byte, error) { return []byte(id.s), nil }

// UnmarshalText reads what MarshalText writes; "" is the zero StreamID.
func (id *StreamID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = StreamID{}
		return nil
	}
	parsed, err := ParseStreamID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
