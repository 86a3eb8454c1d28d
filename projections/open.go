package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// startsInVain is how many starts on a generation may end, one after the other, before the node has
// settled on it. After that the generation itself is taken for the reason.
const startsInVain = 3

// givenWay is how long a replay that has the directory of a stopped region is waited for. It gives way at once.
const givenWay = 10 * time.Second

// lock takes the region's directory.
func (p *Projector) lock(ctx context.Context) (unlock func() error, err error) {
	told := false
	for deadline := time.Now().Add(givenWay); ; {
		unlock, err = p.cfg.Dir.Lock(readmodel.ByNode)
		if !errors.Is(err, readmodel.ErrHeldByReplay) || !time.Now().Before(deadline) {
			return unlock, err
		}
		if !told {
			p.log.Warn("waiting for a replay to give way", "err", err)
			p.setBuilding("waiting for a replay to give way: %s", err)
			told = true
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return nil, err
		}
	}
}

// open takes up the live generation, or where that cannot be used the one before, and removes what
// a build that was cut short has left. Where neither can be used there is no live model, and one has to be built.
func (p *Projector) open() error {
	current, err := p.cfg.Dir.Current()
	switch {
	case errors.Is(err, readmodel.ErrNoGeneration):
		p.log.Info("no read model yet", "reason", err)
	case err != nil:
		return err
	default:
		m, unfit, err := p.take(current)
		if err != nil {
			return err
		}
		if unfit == nil {
			p.use(p.newFollower(current, m))
			return p.tidy()
		}
		p.note("%s is not served any more: %s", current, unfit)
		p.log.Error("the live generation cannot be used", "generation", current, "err", unfit)
	}
	previous, err := p.cfg.Dir.Previous()
	if err != nil {
		if current == "" {
			return p.tidy()
		}
		return nil // what cannot be used is kept until a new one has taken its place
	}
	m, unfit, err := p.take(previous)
	if err != nil {
		return err
	}
	if unfit != nil {
		p.log.Error("the generation before cannot be used either", "generation", previous, "err", unfit)
		return nil
	}
	p.log.Warn("going back to the generation before", "generation", previous, "position", m.Progress().Position())
	err = p.cfg.Dir.SetCurrent(previous)
	if err == nil && current != "" {
		err = p.cfg.Dir.Remove(current)
	}
	if err != nil {
		return errors.Join(err, m.Close())
	}
	p.use(p.newFollower(previous, m))
	return p.tidy()
}

// take opens a generation; unfit says why it must not be served.
func (p *Projector) take(name string) (_ *readmodel.Model, unfit, err error) {
	starts, err := p.cfg.Dir.Started(name)
	if err != nil {
		p.log.Warn("cannot tell how often this generation was started in vain", "generation", name, "err", err)
	}
	if starts > startsInVain {
		return nil, fmt.Errorf("the node has ended %d times in a row before it settled on it", starts-1), nil
	}
	m, err := p.openModel(name)
	if errors.Is(err, readmodel.ErrUnusable) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !m.Progress().Complete {
		return nil, errors.New("it is not complete"), m.Close()
	}
	return m, nil, nil
}

// settled notes that it is not the live generation that ends this process, if something does.
func (p *Projector) settled() {
	name := p.Generation()
	if name == "" {
		return
	}
	if err := p.cfg.Dir.Settled(name); err != nil {
		p.log.Warn("cannot note that the node has settled on its generation", "generation", name, "err", err)
	}
}

// tidy removes all generations but the live one, the one before, and what another process is building.
func (p *Projector) tidy() error {
	removed, err := p.cfg.Dir.Tidy()
	if len(removed) > 0 {
		p.log.Info("removed what was left of generations", "removed", removed)
	}
	return err
}

func (p *Projector) note(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	p.notice.Store(&what)
}
