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
// Nothing is removed before there is one to serve.
func (p *Projector) open() error {
	names, err := p.cfg.Dir.Candidates()
	if err != nil {
		return err
	}
	current, lost := p.cfg.Dir.Current()
	switch {
	case lost != nil && !errors.Is(lost, readmodel.ErrNoGeneration):
		return lost
	case len(names) == 0:
		p.log.Info("no read model yet", "reason", lost)
		return p.tidy()
	case lost != nil:
		p.note("which generation was the live one is not known: %s", lost)
		p.log.Error("which generation was the live one is not known: taking the newest that is whole", "err", lost, "generations", names)
	}
	for _, name := range names {
		m, unfit, err := p.take(name)
		switch {
		case err != nil:
			return err
		case unfit == nil && name == current:
			p.use(p.newFollower(name, m))
			return p.tidy()
		case unfit == nil:
			return p.goBack(name, current, m)
		}
		if name == current {
			p.note("%s is not served any more: %s", name, unfit)
		}
		p.log.Error("a generation cannot be used", "generation", name, "live", name == current, "err", unfit)
	}
	return nil // what cannot be used is kept until a new one has taken its place
}

// goBack serves another generation than the live one, which cannot be used, or is not known ("").
func (p *Projector) goBack(name, current string, m *readmodel.Model) error {
	p.log.Warn("going back to another generation", "generation", name, "position", m.Progress().Position())
	err := p.cfg.Dir.Replace(name)
	if err == nil && current != "" {
		err = p.cfg.Dir.Remove(current)
	}
	if err != nil {
		return errors.Join(err, m.Close())
	}
	p.use(p.newFollower(name, m))
	p.VerifySoon() // nobody knows what else has happened to this disk
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
