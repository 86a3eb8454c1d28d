package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// kinds are the prefixes of all keys that a generation has, and one that it has not.
var kinds = []string{"m", "c/", "h/", "t/", "d/", "g/", "q/", "x/", "s/", "zz/"}

// spoilRecords changes a few records of a generation behind its back, and says what it did.
func spoilRecords(t *testing.T, r *rand.Rand, path string, before map[string]string) (after map[string]string, did []string) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(before))
	by := make(map[string][]string)
	for _, k := range keys {
		by[kindOf(k)] = append(by[kindOf(k)], k)
	}
	after = maps.Clone(before)
	changed := make(map[string]bool)
	set := func(key, value, what string) {
		after[key] = value
		changed[key] = true
		did = append(did, fmt.Sprintf("%s %q", what, key))
	}
	// Mostly what answers look-ups: what is refused altogether shows nothing more.
	favoured := []string{"h/", "h/", "h/", "h/", "t/", "t/", "t/", "t/", "d/", "g/", "x/", "q/", "zz/"}
	if r.IntN(6) == 0 {
		favoured = kinds
	}
	pick := func() (key string, found bool) {
		of := by[favoured[r.IntN(len(favoured))]]
		if len(of) == 0 {
			return "", false
		}
		return of[r.IntN(len(of))], true
	}
	for range 1 + r.IntN(6) {
		key, found := pick()
		if !found && r.IntN(2) == 0 {
			continue
		}
		value := []byte(after[key])
		switch n := r.IntN(10); {
		case !found || n >= 8:
			key, value := addition(r, by, after, favoured[r.IntN(len(favoured))])
			set(key, value, "add")
		case n < 2:
			delete(after, key)
			changed[key] = true
			did = append(did, fmt.Sprintf("delete %q", key))
		case n < 4 && len(value) > 0: // a bit
			value[r.IntN(len(value))] ^= 1 << r.IntN(8)
			set(key, string(value), "flip a bit of")
		case n == 4:
			set(key, string(value[:r.IntN(len(value)+1)]), "truncate")
		case n == 5: // all of it
			value = make([]byte, r.IntN(80))
			for i := range value {
				value[i] = byte(r.Uint32())
			}
			set(key, string(value), "fill with noise")
		case n == 6 && kindOf(key) == "h/": // another tenant's, in good order
			other := by["t/"][r.IntN(len(by["t/"]))]
			position := uint64(r.IntN(3000))
			if was, size := binary.Uvarint(value); size > 0 && r.IntN(2) == 0 {
				position = was
			}
			set(key, string(append(binary.AppendUvarint(nil, position), other[len("t/"):]...)), "give away")
		default: // swap with another, of the same kind or not
			other, ok := pick()
			if !ok || kindOf(other) != kindOf(key) && r.IntN(3) > 0 {
				other = by[kindOf(key)][r.IntN(len(by[kindOf(key)]))]
			}
			a, aThere := after[key]
			b, bThere := after[other]
			if !aThere || !bThere {
				continue
			}
			set(key, b, "swap "+fmt.Sprintf("%q", other)+" with")
			set(other, a, "…")
		}
	}
	db := raw(t, path)
	err := db.Update(func(txn *badger.Txn) error {
		for key := range changed {
			value, there := after[key]
			var err error
			if there {
				err = txn.Set([]byte(key), []byte(value))
			} else {
				err = txn.Delete([]byte(key))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return after, did
}

// addition is a record that was not there: one of something unknown, or with a key that makes no sense.
func addition(r *rand.Rand, by map[string][]string, now map[string]string, kind string) (key, value string) {
	n := r.IntN(1000)
	switch kind {
	case "t/":
		key = fmt.Sprintf("t/ten_added%d", n)
	case "d/":
		key = fmt.Sprintf("d/db_added%d", n)
	case "g/":
		key = fmt.Sprintf("g/grp_added%d", n)
	case "h/":
		key = fmt.Sprintf("h/added%d.example", n)
	case "q/":
		key = "q/" + by["t/"][r.IntN(len(by["t/"]))][len("t/"):]
	case "c/":
		key = fmt.Sprintf("c/%05d", partitions+n)
	default:
		key = kind + fmt.Sprint(n)
	}
	if r.IntN(6) == 0 {
		key = kind + string([]byte{0xff, byte(n), 0, byte(n >> 3)})
	}
	if kind == "q/" && r.IntN(3) > 0 {
		return key, fmt.Sprintf(`{"stream":%q,"position":%d,"version":%d,"error":"it was made up","since":"2026-11-21T03:00:00Z"}`, key[len("q/"):], n, 1+n%5)
	}
	if of := by[kind]; len(of) > 0 && r.IntN(4) > 0 {
		return key, now[of[r.IntN(len(of))]]
	}
	return key, strings.Repeat("\x07noise", r.IntN(10))
}

func kindOf(key string) string {
	prefix, _, slash := strings.Cut(key, "/")
	if slash {
		return prefix + "/"
	}
	return prefix
}

// verdict is what has to be said of a damage.
type verdict struct {
	streams map[string]bool // that have to be named
	keys    map[string]bool // that nobody could be named for
	refuse  bool            // the generation cannot be used
	// mayRefuse: or it may not; nothing of what counts has changed.
	mayRefuse bool
}

// judge says by the records alone, and what doc.go of package readmodel says of them, what was damaged in a
// generation that has come to the position end.
func judge(before, after map[string]string, end uint64) verdict {
	v := verdict{streams: make(map[string]bool), keys: make(map[string]bool)}
	for key := range union(before, after) {
		was, wasThere := before[key]
		is, isThere := after[key]
		if was == is && wasThere == isThere {
			continue
		}
		name := key[len(kindOf(key)):]
		switch kindOf(key) {
		case "m", "c/", "s/":
			v.refuse = v.refuse || wasThere
			v.mayRefuse = true
		case "t/", "d/", "g/":
			id, err := events.ParseStreamID(name)
			if err == nil && strings.HasPrefix(id.String(), map[string]string{"t/": "ten_", "d/": "db_", "g/": "grp_"}[kindOf(key)]) {
				v.streams[id.String()] = true
			} else {
				v.keys[key] = true
			}
		case "q/":
			// Whatever it says: the stream would not be followed. One that is nobody's stops nobody.
			if _, err := events.ParseStreamID(name); err == nil {
				v.streams[name] = true
			}
		case "h/":
			had, _, _ := holderOf(was, wasThere)
			has, position, readable := holderOf(is, isThere)
			if had != "" {
				v.streams[had] = true
			}
			if has != "" {
				v.streams[has] = true
			}
			// One that lets the hostname go after the end would keep it from whoever gets it next.
			astray := has == "" && position > end
			if had == "" && (!readable || astray) {
				v.keys[key] = true
			}
		}
	}
	return v
}

// holderOf reads the entry of a hostname: the tenant that has it, "" where nobody has.
func holderOf(value string, there bool) (tenant string, position uint64, readable bool) {
	if !there {
		return "", 0, true
	}
	position, n := binary.Uvarint([]byte(value))
	if n <= 0 {
		return "", 0, false
	}
	if value = value[n:]; value == "" {
		return "", position, true
	}
	if _, err := events.ParseTenantID(value); err != nil {
		return "", 0, false
	}
	return value, position, true
}

func union(a, b map[string]string) map[string]bool {
	out := make(map[string]bool)
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// spoilFiles changes the octets of a few files of a region's directory, and says what it did.
func spoilFiles(t *testing.T, r *rand.Rand, dir string, b *base) (did []string) {
	t.Helper()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		if len(b.files[name].octets) > 0 {
			names = append(names, name)
		}
	}
	for range 1 + r.IntN(2) {
		name := names[r.IntN(len(names))]
		path := filepath.Join(dir, name)
		octets, err := os.ReadFile(path)
		if err != nil {
			continue // removed by the turn before
		}
		end := max(len(bytes.TrimRight(octets, "\x00")), 1)
		at := min(r.IntN(end), max(len(octets)-1, 0))
		var what string
		switch r.IntN(8) {
		case 0:
			octets, what = octets[:at], fmt.Sprintf("cut %s at %d of %d", name, at, end)
		case 1:
			n := min(1+r.IntN(64), len(octets)-at)
			clear(octets[at : at+n])
			what = fmt.Sprintf("%d zeros at %d of %d in %s", n, at, end, name)
		case 2:
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			did = append(did, "remove "+name)
			continue
		case 3:
			octets, what = append(octets[:end:end], "what does not belong here"...), fmt.Sprintf("write behind %d of %s", end, name)
		default:
			if len(octets) == 0 {
				continue
			}
			octets[at] ^= 1 << r.IntN(8)
			what = fmt.Sprintf("flip a bit at %d of %d in %s", at, end, name)
		}
		if err := os.WriteFile(path, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		did = append(did, what)
	}
	return did
}
