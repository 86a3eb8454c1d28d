package commands

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/events"
)

// Code says why a command was refused, for programs. The values are also the metrics' labels.
type Code string

// The codes, and when a command that got one may be sent again.
const (
	// Invalid: the command's own fields are at fault, whatever the state. Never as it is.
	Invalid Code = "invalid"
	// NotFound: there is no such tenant, database or group, or it does not have that hostname,
	// product or key.
	NotFound Code = "not-found"
	// Exists: there is one by that ID. Never with that ID.
	Exists Code = "exists"
	// HostnameTaken: another tenant holds the hostname; Hostname and Holder name both.
	HostnameTaken Code = "hostname-taken"
	// WrongState: the status does not allow it. Detail names the commands that it allows.
	WrongState Code = "wrong-state"
	// StillReferenced: tenants still depend on the database or group.
	StillReferenced Code = "still-referenced"
	// Full: the database has as many tenants as it takes.
	Full Code = "full"
	// UnknownDatabase: the tenant cannot be put on a database that was never registered.
	UnknownDatabase Code = "unknown-database"
	// UnavailableDatabase: the database is draining or retired, and takes no new tenant.
	UnavailableDatabase Code = "unavailable-database"
	// UnknownGroup: the tenant cannot join a group that was never created.
	UnknownGroup Code = "unknown-group"
	// RetiredGroup: the group takes no new tenant.
	RetiredGroup Code = "retired-group"
	// UnknownRegion: the home region is none of those that the catalogue knows.
	UnknownRegion Code = "unknown-region"
	// VersionMismatch: the stream is not at the version of If-Match; Version is what it is at.
	VersionMismatch Code = "version-mismatch"
	// KeyReused: the idempotency key belongs to another command. Never with that key.
	KeyReused Code = "key-reused"
)

// FieldError is what is wrong with one field. Pointer is a JSON pointer (RFC 6901) into the
// body of the API request that carries the command.
type FieldError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Refusal is a command's "no". Nothing was appended.
type Refusal struct {
	Code   Code
	Detail string // a sentence that says what is wrong and what to do
	// Fields are the fields at fault. It is empty where what is at fault is no field of the
	// body (a name in the path, a header, the state).
	Fields []FieldError
	// Stream is what the refusal is about, where it is about one: the stream that is missing,
	// exists, is in the wrong state, is full, is still referred to.
	Stream events.StreamID

	Hostname events.Hostname // of HostnameTaken
	Holder   events.StreamID // of HostnameTaken: the tenant that holds it
	Version  uint64          // of VersionMismatch: where the stream is now
}

// Error is the detail, and the fields behind it.
func (r *Refusal) Error() string {
	switch {
	case len(r.Fields) == 0:
		return r.Detail
	case len(r.Fields) == 1 && r.Fields[0].Detail == r.Detail:
		return r.Fields[0].Pointer + ": " + r.Detail
	}
	var b strings.Builder
	b.WriteString(r.Detail)
	for i, f := range r.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, f.Pointer, f.Detail)
	}
	return b.String()
}

// CodeOf is the code of the refusal that err is or wraps; "" for any other error.
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}
