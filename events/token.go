package events

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/uuid"
)

// ErrBadToken says that a string is no token of this program. Never retry.
var ErrBadToken = errors.New("not a token that a command answered: send the Tenantry-Token header's value as it came")

// Token names one write, so that a reader can ask to see it: where the write's last event is.
// Clients get it as an opaque string.
type Token struct {
	StoreID   uuid.UUID
	Position  uint64
	Partition int
}

const tokenVersion = 1

// String is the token as a client gets it: URL-safe without escaping.
func (t Token) String() string {
	b := make([]byte, 0, 32)
	b = append(b, tokenVersion)
	b = append(b, t.StoreID[:]...)
	b = binary.AppendUvarint(b, t.Position)
	b = binary.AppendUvarint(b, uint64(t.Partition))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads what String wrote, or returns ErrBadToken.
func ParseToken(s string) (Token, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder passes over line ends, which no token has.
	if err != nil || strings.ContainsAny(s, "\r\n") || len(b) < 1+16+2 || b[0] != tokenVersion {
		return Token{}, ErrBadToken
	}
	t := Token{StoreID: uuid.UUID(b[1:17])}
	b = b[17:]
	position, n := binary.Uvarint(b)
	if n <= 0 {
		return Token{}, ErrBadToken
	}
	partition, m := binary.Uvarint(b[n:])
	if m <= 0 || n+m != len(b) || partition > 1<<20 {
		return Token{}, ErrBadToken
	}
	t.Position, t.Partition = position, int(partition)
	return t, nil
}
