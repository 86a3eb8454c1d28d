package replay

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// What the node and the replay say to each other. Both are the same program, but not always of one
// version: protocol is in each path, so that an old node answers 404 and is told to be restarted.
const protocol = "/replay/1"

type wireInspection struct {
	ID         string              `json:"id"`
	Progress   *readmodel.Progress `json:"progress"`
	Maintained []byte              `json:"maintained"`
	// Idle is for how long, in milliseconds, the node keeps it without being asked for anything; 0: an older node does not say.
	Idle int64 `json:"idle_ms,omitzero"`
}

type wireScanned struct {
	Sums    []byte   `json:"sums"`
	Entries uint64   `json:"entries"`
	Tenants uint64   `json:"tenants"`
	Damaged [][]byte `json:"damaged,omitempty"`
}

type wireRepair struct {
	Stream    events.StreamID   `json:"stream,omitzero"`
	Hostnames []events.Hostname `json:"hostnames,omitempty"`
	Keys      [][]byte          `json:"keys,omitempty"` // damaged: any octets
	Read      *wireRead         `json:"read,omitempty"`
}

type wireRead struct {
	UpTo   uint64 `json:"up_to"`
	Digest uint64 `json:"digest"`
}

type wireRepaired struct {
	Repaired int            `json:"repaired"`
	Unmended []wireUnmended `json:"unmended,omitempty"`
}

// wireUnmended is a stream that was not mended, and why.
type wireUnmended struct {
	Stream events.StreamID `json:"stream"`
	Why    wireError       `json:"why"`
}

func toWireRepair(r projections.Repair) wireRepair {
	w := wireRepair{Stream: r.Stream, Hostnames: r.Hostnames}
	for _, key := range r.Keys {
		w.Keys = append(w.Keys, []byte(key))
	}
	if r.Read != nil {
		w.Read = &wireRead{r.Read.UpTo, r.Read.Digest}
	}
	return w
}

func (w wireRepair) repair() projections.Repair {
	r := projections.Repair{Stream: w.Stream, Hostnames: w.Hostnames}
	for _, key := range w.Keys {
		r.Keys = append(r.Keys, string(key))
	}
	if w.Read != nil {
		r.Read = &projections.Read{UpTo: w.Read.UpTo, Digest: w.Read.Digest}
	}
	return r
}

// toWireRepaired is an answer, where some were mended or could have been.
func toWireRepaired(n int, err error) (wireRepaired, error) {
	w := wireRepaired{Repaired: n}
	unmended, ok := errors.AsType[*projections.UnmendedError](err)
	if !ok {
		return w, err
	}
	for _, u := range unmended.Streams {
		w.Unmended = append(w.Unmended, wireUnmended{u.Stream, toWire(u.Err)})
	}
	return w, nil
}

func (w wireRepaired) repaired() (int, error) {
	if len(w.Unmended) == 0 {
		return w.Repaired, nil
	}
	err := new(projections.UnmendedError)
	for _, u := range w.Unmended {
		err.Streams = append(err.Streams, projections.Unmended{Stream: u.Stream, Err: u.Why.error()})
	}
	return w.Repaired, err
}

type wireGeneration struct {
	Generation string `json:"generation"`
}

// wireError is an error of the node. Code is that of a sentinel, so that it is the same error on
// the other side.
type wireError struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text"`
}

// errorCodes are the errors that callers branch on.
var errorCodes = []struct {
	code string
	err  error
}{
	{"no-session", ErrSessionGone},
	{"no-model", readmodel.ErrNoModel},
	{"closed", readmodel.ErrClosed},
	{"recounted", readmodel.ErrRecounted},
	{"unusable", readmodel.ErrUnusable},
	{"no-generation", readmodel.ErrNoGeneration},
	{"in-use", readmodel.ErrInUse},
	{"disk-full", readmodel.ErrDiskFull},
	{"damaged", readmodel.ErrDamaged},
	{"unavailable", events.ErrUnavailable},
	{"source-behind", ErrSourceBehind},
	{"cancelled", context.Canceled},
}

func toWire(err error) wireError {
	w := wireError{Text: err.Error()}
	for _, c := range errorCodes {
		if errors.Is(err, c.err) {
			w.Code = c.code
			break
		}
	}
	return w
}

// nodeError is an error that the node answered.
type nodeError struct {
	text string
	is   error // nil: none that is branched on
}

func (e *nodeError) Error() string { return e.text }
func (e *nodeError) Unwrap() error { return e.is }

func (w wireError) error() error {
	e := &nodeError{text: w.Text}
	for _, c := range errorCodes {
		if c.code == w.Code {
			e.is = c.err
		}
	}
	return e
}

func statusOf(err error) int {
	if errors.Is(err, ErrSessionGone) {
		return http.StatusGone
	}
	return http.StatusConflict
}

func encodeSums(s *Sums) []byte {
	b := make([]byte, 0, 8*Buckets)
	for _, n := range s {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

func decodeSums(b []byte) (s Sums, err error) {
	if len(b) != 8*Buckets {
		return s, fmt.Errorf("the node answers %d octets of sums, and not %d: it is of another version", len(b), 8*Buckets)
	}
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s, nil
}

// A stream of entries is frames: the key, the stream's ID, the digest. One with no key is the
// last, and tells in place of the stream why it ends: nothing, where all are told.

func writeEntry(w *bufio.Writer, key, stream string, digest uint64) error {
	var b [8]byte
	for _, s := range []string{key, stream} {
		n := binary.PutUvarint(b[:], uint64(len(s)))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		if _, err := w.WriteString(s); err != nil {
			return err
		}
	}
	binary.LittleEndian.PutUint64(b[:], digest)
	_, err := w.Write(b[:])
	return err
}

// maxText is more than any key, ID or reason has.
const maxText = 1 << 16

func readEntries(r *bufio.Reader, yield func(Entry) error) error {
	text := func() (string, error) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return "", err
		}
		if n > maxText {
			return "", fmt.Errorf("a text of %d octets", n)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b), err
	}
	for {
		var digest [8]byte
		key, err := text()
		var stream string
		if err == nil {
			stream, err = text()
		}
		if err == nil {
			_, err = io.ReadFull(r, digest[:])
		}
		if err != nil {
			return fmt.Errorf("the node's answer broke off: %w", err)
		}
		if key == "" {
			if stream != "" {
				return &nodeError{text: stream}
			}
			return nil
		}
		e := Entry{Key: key, Digest: binary.LittleEndian.Uint64(digest[:])}
		if stream != "" {
			if e.Stream, err = events.ParseStreamID(stream); err != nil {
				return fmt.Errorf("read the node's answer: %w", err)
			}
			e.Bucket = readmodel.BucketOf(e.Stream)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}
