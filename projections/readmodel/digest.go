package readmodel

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/tenantry/tenantry/events"
)

// Buckets is into how many parts the streams of a catalogue are divided, each with a sum of its
// own, so that two copies that differ find out where without comparing everything.
const Buckets = 4096

// Sums are the digests of a copy, added up by bucket (modulo 2^64). Two copies with the same
// entries have the same sums, in whatever order they were written.
//
// An entry's digest is the xxHash64 of its key, a zero octet and its value. Entries that count are those
// that decide an answer: t/, d/, g/, and h/ where somebody has the hostname. The bucket is that
// of the stream; a hostname's is that of its tenant.
//
// They find what damage and faults change, and are no proof against somebody who means to.
type Sums [Buckets]uint64

// Root is one number for all the sums.
func (s *Sums) Root() uint64 {
	var b [8 * Buckets]byte
	for i, v := range s {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return xxhash.Sum64(b[:])
}

// Add counts one entry more.
func (s *Sums) Add(e Entry) { s[e.Bucket] += e.Digest }

// Differing are the buckets in which two copies differ.
func (s *Sums) Differing(other *Sums) []int {
	var out []int
	for i := range s {
		if s[i] != other[i] {
			out = append(out, i)
		}
	}
	return out
}

// total is one number as well, and one that an update changes by the same as the sums.
func (s *Sums) total() (sum uint64) {
	for _, v := range s {
		sum += v
	}
	return sum
}

// BucketOf is the bucket of a stream's entries.
func BucketOf(id events.StreamID) int { return int(xxhash.Sum64String(id.String()) % Buckets) }

// KV is one record of a model, as it is stored.
type KV struct {
	Key   string
	Value []byte
}

// Entry is one record of a model without its value.
type Entry struct {
	Key    string
	Stream events.StreamID // to whom it belongs; zero where the record is too damaged to say
	Bucket int
	Digest uint64
	// Astray: it says that a hostname was let go at a position that the model has not come to. It decides no answer
	// now, so that it counts for no sum, and would keep the hostname from whoever gets it next.
	Astray bool
}

// Entry is the record without its value; false where it is one that does not count: see [Sums].
func (kv KV) Entry() (Entry, bool) {
	d := digestOf([]byte(kv.Key), kv.Value)
	if !d.counts {
		return Entry{}, false
	}
	return Entry{Key: kv.Key, Stream: streamOf(kv.Key, kv.Value), Bucket: d.bucket, Digest: d.sum}, true
}

// digest is what one record adds to the sums.
type digest struct {
	counts bool
	bucket int
	sum    uint64
}

func digestOf(key, value []byte) digest {
	stream, counts := owner(key, value)
	if !counts {
		return digest{}
	}
	var h xxhash.Digest
	h.Reset()
	// Writing to this hash never fails.
	_, _ = h.Write(key)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(value)
	return digest{counts: true, bucket: int(xxhash.Sum64(stream) % Buckets), sum: h.Sum64()}
}

// owner is the ID of the stream that a record belongs to, as the record has it: it may be damaged.
func owner(key, value []byte) (id []byte, counts bool) {
	if len(key) < 2 {
		return nil, false
	}
	switch string(key[:2]) {
	case prefixTenant, prefixDatabase, prefixGroup:
		return key[2:], true
	case prefixHostname:
		c, err := parseClaim(value)
		return c.tenant, err != nil || len(c.tenant) > 0
	}
	return nil, false
}

// streamOf is whom a record belongs to; the zero ID where it cannot be told.
func streamOf(key string, value []byte) events.StreamID {
	id, _ := owner([]byte(key), value)
	stream, err := events.ParseStreamID(string(id))
	if err != nil || key[:2] != prefixHostname && prefixOf(stream) != key[:2] {
		return events.StreamID{}
	}
	return stream
}

// prefixOf is how the key of a stream's record begins.
func prefixOf(id events.StreamID) string {
	switch id.Kind() {
	case events.KindTenant:
		return prefixTenant
	case events.KindDatabase:
		return prefixDatabase
	case events.KindGroup:
		return prefixGroup
	}
	return ""
}

// Pages hold the sums in the model: few enough that an update of many streams is not spent on
// them, and small enough for one of a single stream.
const (
	pageBuckets = 16
	pageCount   = Buckets / pageBuckets
)

func pageKey(page int) string { return fmt.Sprintf("%s%03d", prefixSums, page) }

func (s *Sums) encodePage(page int) []byte { return new(tally).pageAfter(s, page) }

func (s *Sums) emptyPage(page int) bool {
	return *(*[pageBuckets]uint64)(s[page*pageBuckets:]) == [pageBuckets]uint64{}
}

func (s *Sums) decodePage(page int, value []byte) error {
	b, err := unseal(pageKey(page), value)
	if err != nil {
		return err
	}
	if len(b) != 8*pageBuckets {
		return ErrDamaged
	}
	for i := range pageBuckets {
		s[page*pageBuckets+i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return nil
}

// tally is what an update does to the sums.
type tally struct {
	delta   Sums
	touched [pageCount]bool
}

// exchange counts what takes the place of what.
func (t *tally) exchange(old, next digest) {
	if old.counts {
		t.add(old.bucket, -old.sum)
	}
	if next.counts {
		t.add(next.bucket, next.sum)
	}
}

func (t *tally) add(bucket int, sum uint64) {
	t.delta[bucket] += sum
	t.touched[bucket/pageBuckets] = true
}

// addTo makes the sums those after the update.
func (t *tally) addTo(s *Sums) {
	for page, touched := range t.touched {
		if !touched {
			continue
		}
		for i := page * pageBuckets; i < (page+1)*pageBuckets; i++ {
			s[i] += t.delta[i]
		}
	}
}

// pageAfter is a page of the sums as it is after the update.
func (t *tally) pageAfter(s *Sums, page int) []byte {
	b := make([]byte, 0, 8*pageBuckets+sealSize)
	for i := page * pageBuckets; i < (page+1)*pageBuckets; i++ {
		b = binary.LittleEndian.AppendUint64(b, s[i]+t.delta[i])
	}
	return seal(pageKey(page), b)
}

func (t *tally) total() (sum uint64) {
	for page, touched := range t.touched {
		if !touched {
			continue
		}
		for _, v := range t.delta[page*pageBuckets : (page+1)*pageBuckets] {
			sum += v
		}
	}
	return sum
}

func (t *tally) reset() {
	for page, touched := range t.touched {
		if touched {
			clear(t.delta[page*pageBuckets : (page+1)*pageBuckets])
			t.touched[page] = false
		}
	}
}

// A record that no digest counts, and that nobody could tell from a good one when it is altered or
// changes places with another, is sealed: the xxHash64 of key and value stands behind it.
const sealSize = 8

func seal(key string, value []byte) []byte {
	return binary.LittleEndian.AppendUint64(value, sealOf(key, value))
}

func unseal(key string, b []byte) ([]byte, error) {
	n := len(b) - sealSize
	if n < 0 || binary.LittleEndian.Uint64(b[n:]) != sealOf(key, b[:n]) {
		return nil, ErrDamaged
	}
	return b[:n:n], nil
}

func sealOf(key string, value []byte) uint64 {
	var h xxhash.Digest
	h.Reset()
	_, _ = h.WriteString(key)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(value)
	return h.Sum64()
}
