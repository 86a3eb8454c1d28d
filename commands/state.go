package commands

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
)

// state is the fold of one stream, of whichever kind the ID says.
type state struct {
	id       events.StreamID
	tenant   events.Tenant
	database events.Database
	group    events.Group
}

// apply folds the next events of the stream.
func (s state) apply(stream []events.Event) (state, error) {
	var err error
	switch s.id.Kind() {
	case events.KindTenant:
		s.tenant, err = events.FoldTenant(s.tenant, stream)
	case events.KindDatabase:
		s.database, err = events.FoldDatabase(s.database, stream)
	case events.KindGroup:
		s.group, err = events.FoldGroup(s.group, stream)
	default:
		return s, fmt.Errorf("fold stream %q: it is of no kind", s.id)
	}
	if err != nil {
		return s, fmt.Errorf("fold %s: %w", s.id, err)
	}
	return s, nil
}

// version is that of the last event; 0: there is no such stream.
func (s state) version() uint64 {
	return s.tenant.Version + s.database.Version + s.group.Version // two of them are 0
}

func (s state) position() uint64 {
	return s.tenant.Position + s.database.Position + s.group.Position
}

// updated is the time of the last event.
func (s state) updated() time.Time {
	switch s.id.Kind() {
	case events.KindDatabase:
		return s.database.UpdatedAt
	case events.KindGroup:
		return s.group.UpdatedAt
	default:
		return s.tenant.UpdatedAt
	}
}

// over says that the stream takes no event any more: the tenant was purged, the database
// or group retired.
func (s state) over() bool {
	return s.tenant.Status == events.StatusPurged ||
		s.database.Status == events.DatabaseIsRetired || s.group.Status == events.GroupIsRetired
}

// facts are what a decision knows besides its own stream.
type facts struct {
	homeRegions []string
	// others are the streams that the command refers to. One that does not exist has
	// version 0 here.
	others map[events.StreamID]state
}

func (f facts) database(id events.DatabaseID) events.Database { return f.others[id.Stream()].database }
func (f facts) group(id events.GroupID) events.Group          { return f.others[id.Stream()].group }

// effects are what a batch does to hostnames and references.
type effects struct {
	take, release []events.Hostname
	refer         []events.Reference
	unrefer       []events.StreamID
	unreferred    bool
}

// effectsOf compares a stream before and after the new events. Since nothing but the folds
// is looked at, what is claimed cannot disagree with what will be folded.
func effectsOf(before, after state, f facts) (effects, error) {
	e := effects{
		take:    missing(after.tenant.Hostnames, before.tenant.Hostnames),
		release: missing(before.tenant.Hostnames, after.tenant.Hostnames),
		// A database or group ends only where no tenant is left on it.
		unreferred: after.over() && !before.over() && after.id.Kind() != events.KindTenant,
	}
	if was, is := before.tenant.Database.ID, after.tenant.Database.ID; was != is {
		if !was.IsZero() {
			e.unrefer = append(e.unrefer, was.Stream())
		}
		if !is.IsZero() {
			d := f.database(is)
			e.refer = append(e.refer, events.Reference{To: is.Stream(), Version: d.Version, Limit: d.Capacity})
		}
	}
	if was, is := before.tenant.Group, after.tenant.Group; was != is {
		if !was.IsZero() {
			e.unrefer = append(e.unrefer, was.Stream())
		}
		if !is.IsZero() {
			e.refer = append(e.refer, events.Reference{To: is.Stream(), Version: f.group(is).Version})
		}
	}
	for _, r := range e.refer {
		if r.Version == 0 {
			return e, fmt.Errorf("%s would refer to %s, which the decision did not look at", after.id, r.To)
		}
	}
	return e, nil
}

// missing are the hostnames of a that are not in b, in a's order.
func missing(a, b []events.Hostname) []events.Hostname {
	if len(a) == 0 {
		return nil
	}
	if len(b) == 0 {
		return append([]events.Hostname(nil), a...)
	}
	has := make(map[events.Hostname]struct{}, len(b))
	for _, h := range b {
		has[h] = struct{}{}
	}
	var out []events.Hostname
	for _, h := range a {
		if _, ok := has[h]; !ok {
			out = append(out, h)
		}
	}
	return out
}

// status is the stream's own word for where it stands.
func (s state) status() string {
	switch s.id.Kind() {
	case events.KindDatabase:
		return string(s.database.Status)
	case events.KindGroup:
		return string(s.group.Status)
	default:
		return string(s.tenant.Status)
	}
}
