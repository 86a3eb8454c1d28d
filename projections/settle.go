package projections

import (
	"context"
	"time"
)

// awaitSettled waits until it is known that it is not the live generation that ends this process, if something
// does: a node that is killed again and again by somebody else must not give up a good one.
//
// A generation ends its node when it is opened, or when the events are folded that come next. So one has held where
// the node is past that: its position has moved on, or it is ready, having all that the store had, and has committed
// something since or has served for [Config.Settle]. The position is that of the partition that is last: where one
// has an event that ends the process it stays where it is, however far the others go.
func (p *Projector) awaitSettled(ctx context.Context, ready <-chan struct{}) error {
	from, name := p.live.Progress().Position(), p.Generation()
	for {
		changed := p.changed() // taken before the condition is looked at: no commit is missed
		if name != "" && name == p.Generation() && p.live.Progress().Position() > from {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-p.changed():
		case <-time.After(p.cfg.Settle):
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
}
