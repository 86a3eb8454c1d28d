package commands

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// SetConfig sets one key of a tenant's configuration.
type SetConfig struct {
	ID    events.TenantID
	Key   string
	Value jsontext.Value // any JSON, null too
}

// UnsetConfig takes one key out of a tenant's configuration.
type UnsetConfig struct {
	ID  events.TenantID
	Key string
}

// Target is the tenant.
func (c SetConfig) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c UnsetConfig) Target() events.StreamID { return c.ID.Stream() }

func (SetConfig) name() string   { return "set-config" }
func (UnsetConfig) name() string { return "unset-config" }

func (c SetConfig) check(f *faults) {
	f.configKey("", c.Key)
	f.value("/value", c.Key, c.Value)
}

func (c UnsetConfig) check(f *faults) { f.configKey("", c.Key) }

func (c SetConfig) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	value, err := compactJSON(c.Value)
	if err != nil {
		return nil, fmt.Errorf("compact the value of %s: %w", c.Key, err)
	}
	was, set := t.Config[c.Key]
	switch {
	case set && sameJSON(was, value):
		return nil, nil
	case !set && len(t.Config) >= maxKeys:
		return nil, &Refusal{Code: Invalid, Detail: fmt.Sprintf("%s has %d configuration keys, and no more are allowed: unset one first", t.ID, len(t.Config))}
	}
	total := len(c.Key) + len(value)
	for key, v := range t.Config {
		if key != c.Key {
			total += len(key) + len(v)
		}
	}
	if total > maxConfig {
		return nil, refuseField(Invalid, "/value", fmt.Sprintf(
			"the configuration of %s would have %d octets, and %d are allowed: unset a key first, or keep what is larger elsewhere", t.ID, total, maxConfig))
	}
	return []events.Payload{events.ConfigSet{Key: c.Key, Value: value}}, nil
}

func (c UnsetConfig) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	if _, set := t.Config[c.Key]; !set {
		return nil, &Refusal{Code: NotFound, Stream: t.ID.Stream(), Detail: fmt.Sprintf("%s does not have the configuration key %s: check its spelling", t.ID, quote(c.Key))}
	}
	return []events.Payload{events.ConfigUnset{Key: c.Key}}, nil
}

// configKey checks a key, which stands in the path or is a member's name.
func (f *faults) configKey(pointer jsontext.Pointer, s string) {
	if !isWord(s, "._-", true, maxKey) {
		f.add(pointer, "a configuration key is 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit: %s is not", maxKey, quote(s))
		return
	}
	f.noSecret(pointer, "configuration key", s)
}

// configSize is what a key and its value count towards the limit. What is no JSON counts
// nothing: it is refused as such.
func configSize(key string, v jsontext.Value) int {
	value, err := compactJSON(v)
	if err != nil {
		return 0
	}
	return len(key) + len(value)
}
