package commands

import (
	"fmt"

	"github.com/tenantry/tenantry/events"
)

// Command is an intent to change one stream. The types of this package are all there are.
type Command interface {
	// Target is the stream that the command changes.
	Target() events.StreamID
	// name is the command in metrics and logs: "register-tenant".
	name() string
	// check finds what is wrong with the command itself, whatever the state.
	check(*faults)
}

// kinds has one of each, for who needs their names before the first one comes.
var kinds = []Command{
	RegisterTenant{}, ChangeTenant{}, AssignDatabase{}, ActivateTenant{}, SuspendTenant{}, ResumeTenant{}, DeactivateTenant{}, RestoreTenant{}, PurgeTenant{},
	AttachHostname{}, DetachHostname{}, SetPrimaryHostname{}, SetProduct{}, DeactivateProduct{}, SetConfig{}, UnsetConfig{},
	RegisterDatabase{}, ChangeEndpoint{}, DrainDatabase{}, RetireDatabase{}, CreateGroup{}, ChangeGroup{}, RetireGroup{},
}

// A command decides on the state of its own kind of stream. The payloads it returns are
// what happens; none means that all is already so. The error is a *Refusal.
type (
	tenantCommand interface {
		Command
		decide(t events.Tenant, f facts) ([]events.Payload, error)
	}
	databaseCommand interface {
		Command
		decide(d events.Database) ([]events.Payload, error)
	}
	groupCommand interface {
		Command
		decide(g events.Group) ([]events.Payload, error)
	}
)

// founder is a command that begins a stream. All others need one that exists.
type founder interface {
	Command
	// differs says what of the command is not so in a stream that exists, and what to do;
	// "": all that it gives is so. What it does not give is not compared.
	differs(s state) string
}

// referrer is a command whose decision looks at other streams.
type referrer interface {
	refers() []events.StreamID
}

// claimer is a command that takes hostnames and can say which field has one.
type claimer interface {
	pointerTo(h events.Hostname) string
}

// Check finds all that is wrong with a command itself, whatever the state. It is nil or a
// [*Refusal] of code Invalid. The Handler checks too; this is for a caller that has found faults
// of its own, and wants to report all of them together.
func Check(c Command) error {
	var f faults
	if c.Target().IsZero() {
		f.add("/id", "the ID is empty: give one")
	}
	c.check(&f)
	return f.refusal()
}

// decide is what a command does to a stream in this state. It is pure. The command was checked.
func decide(c Command, s state, f facts) ([]events.Payload, error) {
	_, founds := c.(founder)
	switch {
	case founds && s.version() > 0:
		return nil, existsRefusal(s)
	case !founds && s.version() == 0:
		return nil, notFound(s.id)
	case s.over():
		return nil, overRefusal(s)
	}
	switch c := c.(type) {
	case tenantCommand:
		return c.decide(s.tenant, f)
	case databaseCommand:
		return c.decide(s.database)
	case groupCommand:
		return c.decide(s.group)
	}
	return nil, fmt.Errorf("command %s decides nothing", c.name())
}

// refersTo are the streams that a decision on c looks at besides its own.
func refersTo(c Command) []events.StreamID {
	if r, ok := c.(referrer); ok {
		return r.refers()
	}
	return nil
}

func notFound(id events.StreamID) *Refusal {
	return &Refusal{Code: NotFound, Stream: id, Detail: fmt.Sprintf("there is no %s %s: check the ID", id.Kind(), id)}
}

func existsRefusal(s state) *Refusal {
	detail := fmt.Sprintf("%s exists already: choose another ID, or change it as it is", s.id)
	if s.over() {
		detail = fmt.Sprintf("%s was there before and is %s, and an ID is never used again: choose another ID", s.id, s.status())
	}
	return &Refusal{Code: Exists, Stream: s.id, Detail: detail}
}

func overRefusal(s state) *Refusal {
	return &Refusal{Code: WrongState, Stream: s.id, Detail: fmt.Sprintf("%s is %s, which is the end: it takes no command, use another", s.id, s.status())}
}
