package readmodel

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/events"
)

// ErrTooBig says that an update holds more than one transaction can. Nothing of it is
// stored; make it of fewer events.
var ErrTooBig = errors.New("update is too big for one transaction")

// ErrUnencodable says that a document of the update cannot be written as JSON. Nothing of the
// update is stored; leave out the event that makes it so.
var ErrUnencodable = errors.New("document cannot be encoded")

// Quarantine says why a stream is not followed: the first event that could not be folded.
type Quarantine struct {
	Stream   events.StreamID `json:"stream"`
	Position uint64          `json:"position"`
	Version  uint64          `json:"version"`
	Error    string          `json:"error"`
	Since    time.Time       `json:"since"`
}

// Tx is an update under way. States are decoded once and written once an update, however many
// events fold into them. It must not be used after the function that it was given to returns.
type Tx struct {
	txn  *badger.Txn
	was  *Progress // what is stored
	next *Progress
	most int // octets that a transaction of Badger takes

	tenants    map[events.TenantID]*state[events.Tenant]
	databases  map[events.DatabaseID]*state[events.Database]
	groups     map[events.GroupID]*state[events.Group]
	claims     map[events.Hostname]claimState
	quarantine map[events.StreamID]*Quarantine // nil: none

	tally      *tally              // what becomes of the sums
	before     *Sums               // as they were before this update
	total      uint64              // of them
	recounts   bool                // this update corrects the sums
	touched    map[string]struct{} // hostnames and tenant IDs whose document changed
	touchedAll bool                // a database or group changed
	damaged    bool                // see MetDamage
	bytes      int
}

type state[S any] struct {
	value       S
	quarantined bool // its stream is, and value is what was folded before
	dirty       bool
	gone        bool // what is stored is to be removed, unless dirty
	stored      stored
}

type claimState struct {
	position uint64
	tenant   events.TenantID
	dirty    bool
	gone     bool // what is stored is to be removed, unless dirty
	stored   stored
}

// stored is the digest of what the model has under a key before the update; not known until it was read.
type stored struct {
	known  bool
	digest digest
}

// Update runs fn in one transaction: all that it changes, and the checkpoint with it, or
// nothing. Updates wait for each other.
func (m *Model) Update(fn func(*Tx) error) error {
	m.updating.Lock()
	defer m.updating.Unlock()
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return ErrClosed
	}
	if err := m.roomToCommit(); err != nil {
		return err
	}
	txn := m.db.NewTransaction(true)
	defer txn.Discard()
	was := m.progress.Load()
	m.tally.reset()
	tx := &Tx{
		tally:      &m.tally,
		before:     &m.sums.now, // only an update changes them
		total:      m.sums.total,
		txn:        txn,
		most:       int(m.db.MaxBatchSize()),
		was:        was,
		next:       was.clone(),
		tenants:    make(map[events.TenantID]*state[events.Tenant]),
		databases:  make(map[events.DatabaseID]*state[events.Database]),
		groups:     make(map[events.GroupID]*state[events.Group]),
		claims:     make(map[events.Hostname]claimState),
		quarantine: make(map[events.StreamID]*Quarantine),
		touched:    make(map[string]struct{}),
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.flush(); err != nil {
		return fmt.Errorf("write read model: %w", err)
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("commit read model: %w", sized(err))
	}
	m.sums.Lock()
	m.tally.addTo(&m.sums.now)
	m.sums.total += m.tally.total()
	m.sums.Unlock()
	if tx.recounts {
		m.recounts.Add(1)
	}
	m.cache.invalidate(tx.touched, tx.touchedAll)
	m.publish(tx.next)
	return nil
}

// sized is Badger's word for an update that is too big as ours.
func sized(err error) error {
	if errors.Is(err, badger.ErrTxnTooBig) {
		return ErrTooBig
	}
	return err
}

// set writes one value. Badger has a second limit, for one value, and no error of its own for it.
func (tx *Tx) set(key string, value []byte) error {
	if len(value) > tx.most {
		return fmt.Errorf("%w: %s would have %d octets", ErrTooBig, key, len(value))
	}
	return sized(tx.txn.Set([]byte(key), value))
}

func (tx *Tx) remove(key string) error { return sized(tx.txn.Delete([]byte(key))) }

// Progress is the checkpoint that this update will commit. The caller changes it in place.
func (tx *Tx) Progress() *Progress { return tx.next }

// Size estimates the bytes that this update will write so far. A caller with more events
// stops well below [MaxUpdate].
func (tx *Tx) Size() int { return tx.bytes }

// MetDamage tells that something that was read could not be decoded. What it was before that is in the sums still, and when it is
// written anew they are to be counted anew: see [Model.Recount].
func (tx *Tx) MetDamage() bool { return tx.damaged }

// MaxUpdate is the size at which to stop adding to an update: half of what Badger takes in a
// transaction (15% of a memtable), since Size is an estimate.
const MaxUpdate = memTableSize * 15 / 100 / 2

// get reads one value into decode; false where the key is not there. What cannot be decoded is an
// ErrDamaged.
func (tx *Tx) get(key string, decode func([]byte) error) (bool, error) {
	item, err := tx.txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %q: %w", key, err)
	}
	var damage error
	if err := item.Value(func(b []byte) error {
		tx.bytes += len(b)
		damage = decode(b)
		return nil
	}); err != nil {
		return false, fmt.Errorf("read %q: %w", key, err)
	}
	if damage != nil {
		tx.damaged = true
		return false, fmt.Errorf("read %q: %w", key, errors.Join(ErrDamaged, damage))
	}
	return true, nil
}

func (tx *Tx) tenant(id events.TenantID) (*state[events.Tenant], error) {
	return load(tx, tx.tenants, id, prefixTenant, decodeTenant)
}

// Tenant is the tenant as folded so far; its Version is 0 where there is none.
func (tx *Tx) Tenant(id events.TenantID) (events.Tenant, error) {
	s, err := tx.tenant(id)
	if err != nil {
		return events.Tenant{}, err
	}
	return s.value, nil
}

// PutTenant stores what Tenant will return from now on. What the event at t.Position did to
// hostnames is taken from the difference.
func (tx *Tx) PutTenant(t events.Tenant) error {
	s, err := tx.tenant(t.ID)
	if err != nil {
		return err
	}
	if err := tx.moveHostnames(s.value, t); err != nil {
		return err
	}
	s.value, s.dirty = t, true
	tx.bytes += 256
	return nil
}

// moveHostnames claims what the tenant gained and releases what it lost, each by the event
// at t.Position.
func (tx *Tx) moveHostnames(before, after events.Tenant) error {
	for h, held := range moved(before, after) {
		var holder events.TenantID
		if held {
			holder = after.ID
		}
		if err := tx.claim(h, after.Position, holder); err != nil {
			return err
		}
	}
	return nil
}

// claim records who has a hostname since a position (zero: nobody), unless a later event has
// already decided that.
func (tx *Tx) claim(h events.Hostname, position uint64, tenant events.TenantID) error {
	c, ok := tx.claims[h]
	if !ok {
		key := prefixHostname + h.String()
		c.stored.known = true
		if _, err := tx.get(key, func(b []byte) error {
			c.stored.digest = digestOf([]byte(key), b)
			was, err := parseClaim(b)
			c.position = was.position
			return err
		}); err != nil && !errors.Is(err, ErrDamaged) { // a damaged entry says nothing against this one
			return err
		}
	}
	tx.touched[h.String()] = struct{}{}
	if position < c.position {
		return nil
	}
	tx.claims[h] = claimState{position: position, tenant: tenant, dirty: true, stored: c.stored}
	tx.bytes += 2*len(h.String()) + 64
	return nil
}

// Database is the database as folded so far; its Version is 0 where there is none.
func (tx *Tx) Database(id events.DatabaseID) (events.Database, error) {
	s, err := load(tx, tx.databases, id, prefixDatabase, decodeDatabase)
	if err != nil {
		return events.Database{}, err
	}
	return s.value, nil
}

// PutDatabase stores what Database will return from now on.
func (tx *Tx) PutDatabase(d events.Database) {
	tx.databases[d.ID] = &state[events.Database]{value: d, dirty: true, stored: storedOf(tx.databases[d.ID])} // one in quarantine is not folded into
	tx.touchedAll = true
	tx.bytes += 512
}

// Group is the group as folded so far; its Version is 0 where there is none.
func (tx *Tx) Group(id events.GroupID) (events.Group, error) {
	s, err := load(tx, tx.groups, id, prefixGroup, decodeGroup)
	if err != nil {
		return events.Group{}, err
	}
	return s.value, nil
}

// PutGroup stores what Group will return from now on.
func (tx *Tx) PutGroup(g events.Group) {
	tx.groups[g.ID] = &state[events.Group]{value: g, dirty: true, stored: storedOf(tx.groups[g.ID])}
	tx.touchedAll = true
	tx.bytes += 512
}

func load[ID interface {
	comparable
	String() string
}, S any](tx *Tx, from map[ID]*state[S], id ID, prefix string, decode func([]byte) (S, bool, error)) (*state[S], error) {
	if s, ok := from[id]; ok {
		return s, nil
	}
	s := new(state[S])
	key := prefix + id.String()
	s.stored.known = true
	if _, err := tx.get(key, func(b []byte) (err error) {
		s.stored.digest = digestOf([]byte(key), b)
		s.value, s.quarantined, err = decode(b)
		return err
	}); err != nil {
		return nil, err
	}
	from[id] = s
	return s, nil
}

func storedOf[S any](s *state[S]) stored {
	if s == nil {
		return stored{}
	}
	return s.stored
}

// forgotten is a state of which nothing is left, and what was stored of it is to be removed.
func forgotten[S any](before *state[S]) *state[S] {
	return &state[S]{gone: true, stored: storedOf(before)}
}

// Forget drops what was folded of a stream, so that it can be folded anew from its first event.
// Hostnames stay whose they are: each event decides them by its position, however often.
func (tx *Tx) Forget(id events.StreamID) error {
	if id, ok := id.Tenant(); ok {
		tx.tenants[id] = forgotten(tx.tenants[id])
		tx.touched[id.String()] = struct{}{}
		return nil
	}
	tx.touchedAll = true
	if id, ok := id.Database(); ok {
		tx.databases[id] = forgotten(tx.databases[id])
	}
	if id, ok := id.Group(); ok {
		tx.groups[id] = forgotten(tx.groups[id])
	}
	return nil
}

// Quarantined is why a stream is not followed; nil: it is.
func (tx *Tx) Quarantined(id events.StreamID) (*Quarantine, error) {
	if q, ok := tx.quarantine[id]; ok {
		return q, nil
	}
	var q *Quarantine
	if _, err := tx.get(prefixQuarantine+id.String(), func(b []byte) error {
		q = decodeQuarantine(id, b)
		return nil
	}); err != nil {
		return nil, err
	}
	tx.quarantine[id] = q
	return q, nil
}

// decodeQuarantine reads why a stream is in quarantine. That it is, a damaged record says too.
func decodeQuarantine(id events.StreamID, b []byte) *Quarantine {
	q := new(Quarantine)
	if err := json.Unmarshal(b, q); err != nil || q.Stream != id {
		return &Quarantine{Stream: id, Error: "the record that says why is damaged"}
	}
	return q
}

// maxReason is the most octets of a reason that are kept: it may repeat what an event says.
const maxReason = 500

// encodeQuarantine cuts a reason that is too long, in place.
func encodeQuarantine(q *Quarantine) ([]byte, error) {
	q.Error = strings.ToValidUTF8(q.Error, "\uFFFD")
	if len(q.Error) > maxReason {
		q.Error = strings.ToValidUTF8(q.Error[:maxReason], "") + "…"
	}
	return json.Marshal(q)
}

// SetQuarantine stops following a stream: what was folded of it is still served, flagged.
func (tx *Tx) SetQuarantine(q Quarantine) error {
	b, err := encodeQuarantine(&q)
	if err != nil {
		return err
	}
	tx.quarantine[q.Stream] = &q
	tx.bytes += len(b) + 64
	if err := tx.set(prefixQuarantine+q.Stream.String(), b); err != nil {
		return err
	}
	return tx.flag(q.Stream, true)
}

// ClearQuarantine follows a stream again; its missing events must have been folded.
func (tx *Tx) ClearQuarantine(id events.StreamID) error {
	tx.quarantine[id] = nil
	if err := tx.remove(prefixQuarantine + id.String()); err != nil {
		return err
	}
	return tx.flag(id, false)
}

// flag marks what a stream contributes to documents as quarantined or not, where there is
// something. Of a database or group of which there is nothing yet, the quarantine itself tells.
func (tx *Tx) flag(id events.StreamID, quarantined bool) error {
	err := tx.flagState(id, quarantined)
	if errors.Is(err, ErrDamaged) {
		return nil // there is nothing to serve, and so nothing to flag
	}
	return err
}

func (tx *Tx) flagState(id events.StreamID, quarantined bool) error {
	if id, ok := id.Tenant(); ok {
		s, err := tx.tenant(id)
		if err == nil && s.value.Exists() {
			s.quarantined, s.dirty = quarantined, true
		}
		return err
	}
	tx.touchedAll = true
	if id, ok := id.Database(); ok {
		s, err := load(tx, tx.databases, id, prefixDatabase, decodeDatabase)
		if err == nil && s.value.Exists() {
			s.quarantined, s.dirty = quarantined, true
		}
		return err
	}
	if id, ok := id.Group(); ok {
		s, err := load(tx, tx.groups, id, prefixGroup, decodeGroup)
		if err == nil && s.value.Exists() {
			s.quarantined, s.dirty = quarantined, true
		}
		return err
	}
	return nil
}
