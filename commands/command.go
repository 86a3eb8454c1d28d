package commands

import (
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
