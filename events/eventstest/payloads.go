package eventstest

import (
	"maps"
	"slices"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
)

// Payloads has a generator for every type of event. A test holds it complete.
func Payloads() map[events.Type]*rapid.Generator[events.Payload] {
	all := make(map[events.Type]*rapid.Generator[events.Payload])
	add := func(draw func(t *rapid.T) events.Payload) {
		g := rapid.Custom(draw)
		all[g.Example(0).EventType()] = g
	}
	for _, p := range []events.Payload{
		events.TenantActivated{}, events.TenantSuspended{}, events.TenantResumed{}, events.TenantDeactivated{}, events.TenantRestored{},
		events.TenantPurged{}, events.DatabaseDraining{}, events.DatabaseRetired{}, events.GroupRetired{},
	} {
		all[p.EventType()] = rapid.Just(p)
	}
	add(func(t *rapid.T) events.Payload {
		return events.TenantRegistered{Name: Name().Draw(t, "name"), HomeRegion: Region().Draw(t, "home region"), Group: optionalGroup(t)}
	})
	add(func(t *rapid.T) events.Payload { return events.TenantRenamed{Name: Name().Draw(t, "name")} })
	add(func(t *rapid.T) events.Payload {
		return events.HostnameAttached{Hostname: Hostname().Draw(t, "hostname")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.HostnameDetached{Hostname: Hostname().Draw(t, "hostname")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.PrimaryHostnameChanged{Hostname: Hostname().Draw(t, "hostname")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.ProductActivated{Name: ProductName().Draw(t, "product"), Product: Product().Draw(t, "settings")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.ProductChanged{Name: ProductName().Draw(t, "product"), Product: Product().Draw(t, "settings")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.ProductDeactivated{Name: ProductName().Draw(t, "product")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.DatabaseAssigned{Database: DatabaseID().Draw(t, "database"), Name: Name().Draw(t, "name")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.HomeRegionChanged{HomeRegion: Region().Draw(t, "home region")}
	})
	add(func(t *rapid.T) events.Payload { return events.TenantGroupChanged{Group: optionalGroup(t)} })
	add(func(t *rapid.T) events.Payload {
		return events.ConfigSet{Key: ConfigKey().Draw(t, "key"), Value: Value().Draw(t, "value")}
	})
	add(func(t *rapid.T) events.Payload { return events.ConfigUnset{Key: ConfigKey().Draw(t, "key")} })
	add(func(t *rapid.T) events.Payload {
		return events.DatabaseRegistered{
			Engine: rapid.SampledFrom([]string{"postgres", "mysql-8"}).Draw(t, "engine"), Region: Region().Draw(t, "region"),
			Endpoint: Endpoint().Draw(t, "endpoint"), Capacity: rapid.SampledFrom([]int{0, 1, 500}).Draw(t, "capacity"),
		}
	})
	add(func(t *rapid.T) events.Payload {
		return events.DatabaseEndpointChanged{Endpoint: Endpoint().Draw(t, "endpoint")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.GroupCreated{Name: Name().Draw(t, "name"), Ring: Ring().Draw(t, "ring")}
	})
	add(func(t *rapid.T) events.Payload {
		return events.GroupChanged{Name: Name().Draw(t, "name"), Ring: Ring().Draw(t, "ring")}
	})
	return all
}

func optionalGroup(t *rapid.T) events.GroupID {
	if !rapid.Bool().Draw(t, "in a group") {
		return events.GroupID{}
	}
	return GroupID().Draw(t, "group")
}

// Payload makes payloads of all types.
func Payload() *rapid.Generator[events.Payload] {
	all := Payloads()
	generators := make([]*rapid.Generator[events.Payload], 0, len(all))
	for _, typ := range slices.Sorted(maps.Keys(all)) {
		generators = append(generators, all[typ])
	}
	return rapid.OneOf(generators...)
}

// UUID makes UUIDs of any version.
func UUID() *rapid.Generator[uuid.UUID] {
	return rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) uuid.UUID { return uuid.UUID(b) })
}

// Metadata makes what is common to the events of one command, without an idempotency key.
func Metadata() *rapid.Generator[events.Metadata] {
	return rapid.Custom(func(t *rapid.T) events.Metadata {
		optional := func(name string, g *rapid.Generator[string]) string {
			return rapid.OneOf(rapid.Just(""), g).Draw(t, name)
		}
		return events.Metadata{
			Time:          Time().Draw(t, "time"),
			Actor:         optional("actor", text(500)),
			Reason:        optional("reason", text(500)),
			CorrelationID: optional("correlation ID", rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`)),
			CausationID:   optional("causation ID", rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`)),
			Traceparent:   optional("traceparent", rapid.StringMatching(`00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]`)),
		}
	})
}

// Event makes single events that were appended, each of a stream of its type's kind.
func Event() *rapid.Generator[events.Event] {
	return rapid.Custom(func(t *rapid.T) events.Event {
		p, meta := Payload().Draw(t, "payload"), Metadata().Draw(t, "metadata")
		made := must(events.New(streamFor(t, p), 0, meta, p))
		e := made[0]
		e.ID = UUID().Draw(t, "ID") // drawn, so that a failure can be repeated
		e.Version = rapid.Uint64Range(1, 1<<53).Draw(t, "version")
		e.Position = rapid.Uint64Range(e.Version, 1<<53).Draw(t, "position")
		return e
	})
}

func streamFor(t *rapid.T, p events.Payload) events.StreamID {
	switch KindOf(p.EventType()) {
	case events.KindDatabase:
		return DatabaseID().Draw(t, "database").Stream()
	case events.KindGroup:
		return GroupID().Draw(t, "group").Stream()
	}
	return TenantID().Draw(t, "tenant").Stream()
}
