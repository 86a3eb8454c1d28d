package projections

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

var generationName = regexp.MustCompile(`^gen-[0-9]{4,}$`)

const (
	adoptPatience = 30 * time.Second       // without a step ahead, before a generation is given up
	atRest        = time.Second            // that the live model is held at rest, at most
	nearby        = 300 * time.Millisecond // within which the new one has to come to where the live one was
)

// Adopt puts a generation that is in the region's directory in the place of the live one, which
// stays on disk as the one before. It follows the topic beside the live one until it has all that
// this one has; then the live one is held at rest, for milliseconds, the other comes to the same
// place, and look-ups turn to it. No look-up fails, and no reader sees anything go back.
//
// Where it fails nothing has changed, and the generation is removed.
func (p *Projector) Adopt(ctx context.Context, generation string) error {
	return p.swapTo(ctx, generation, func() error {
		if previous, err := p.cfg.Dir.Previous(); err == nil && previous == generation {
			return nil // it was there before
		}
		return p.cfg.Dir.Remove(generation)
	})
}

// Rollback puts the generation that was live before the present one in its place again, as [Projector.Adopt]
// does, and says which that is. Where it fails nothing has changed.
func (p *Projector) Rollback(ctx context.Context) (string, error) {
	name, err := p.cfg.Dir.Previous()
	if err != nil {
		return "", fmt.Errorf("go back to the generation before: %w", err)
	}
	return name, p.swapTo(ctx, name, func() error { return nil })
}

// swapTo makes a generation the live one; where that fails, undo decides what becomes of it.
func (p *Projector) swapTo(ctx context.Context, name string, undo func() error) error {
	if !generationName.MatchString(name) {
		return fmt.Errorf("adopt %q: this is no name of a generation, such as gen-0008", name)
	}
	ctx, end, err := p.turns.task(ctx)
	if err != nil {
		return err
	}
	defer end()
	done, err := p.turns.swap(ctx, "putting "+name+" in the place of the live generation")
	if err != nil {
		return fmt.Errorf("adopt %s: %w", name, err)
	}
	defer done()
	if name == p.Generation() {
		return fmt.Errorf("adopt %s: it is the live generation already", name)
	}
	if err := p.adopt(ctx, name); err != nil {
		err = fmt.Errorf("adopt %s: %w", name, err)
		if !errors.Is(err, errNotClosed) {
			err = errors.Join(err, undo())
		}
		p.log.Error("the live generation stays as it is", "live", p.Generation(), "err", err)
		return err
	}
	p.noteServed()
	return nil
}

// adopt is Adopt while nothing else changes generations. After an error the model is closed.
func (p *Projector) adopt(ctx context.Context, name string) (err error) {
	if _, err := os.Stat(p.cfg.Dir.Path(name)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the region has no such generation: %w", err)
	}
	m, err := p.openModel(name)
	if err != nil {
		return err
	}
	f := p.newFollower(name, m)
	defer func() {
		if err != nil {
			f.end()
			if closeErr := m.Close(); closeErr != nil {
				err = errors.Join(err, fmt.Errorf("%w: %w", errNotClosed, closeErr))
			}
		}
	}()
	if !m.Progress().Complete {
		return errors.New("it is not complete")
	}
	live := p.current.Load()
	compare := live != nil
	if compare {
		if compare, err = p.sameHistory(ctx, live.model.Progress(), m.Progress()); err != nil {
			return err
		}
	}
	if err := m.Sync(); err != nil { // so that what is pointed to is there after a power cut, too
		return err
	}
	crashpoint.Hit(crashpoint.AdoptOpened)
	p.log.Info("following the topic with the generation that is to be live", "generation", name, "position", m.Progress().Position())
	f.start(p.turns.life)
	for compare {
		began := time.Now()
		if err := f.reach(ctx, live.model.Progress(), adoptPatience); err != nil {
			return err
		}
		if time.Since(began) > nearby {
			continue
		}
		// The live one was near a moment ago. Where the other does not come to it now in a short time it is
		// let go on, so that nothing grows old, and tried again.
		err := p.turnTo(ctx, f, live, true)
		if errors.Is(err, errTooFar) {
			continue
		}
		if err == nil {
			p.retire(live)
		}
		return err
	}
	if err := p.turnTo(ctx, f, live, false); err != nil {
		return err
	}
	if live != nil {
		p.retire(live)
	}
	return nil
}

// errNotClosed says that Badger still has a generation's files, and must not lose them: they stay
// until the next start.
var errNotClosed = errors.New("it was not closed")

// errTooFar says that a generation did not come to the live one in the time for which that is held.
var errTooFar = errors.New("it does not come up with the live generation")

// turnTo turns look-ups to a follower's model; live is nil where there is none yet. Where the two can be compared
// the other has to have all that the live one has.
func (p *Projector) turnTo(ctx context.Context, f, live *follower, compare bool) error {
	if live != nil {
		live.rest.Lock()
		defer live.rest.Unlock()
		if compare {
			if err := f.reach(ctx, live.model.Progress(), atRest); err != nil {
				if ctx.Err() != nil {
					return err
				}
				return errors.Join(errTooFar, err)
			}
		}
	}
	crashpoint.Hit(crashpoint.AdoptBeforeCurrent)
	point := p.cfg.Dir.SetCurrent
	if live == nil {
		point = p.cfg.Dir.Replace // what the pointer names could not be opened
	}
	if err := point(f.name); err != nil {
		// The pointer may have been moved all the same, and what it says is what the next start serves.
		if now, _ := p.cfg.Dir.Current(); now != f.name {
			return err
		}
		p.log.Error("the pointer to the live generation may not be durable", "generation", f.name, "err", err)
	}
	crashpoint.Hit(crashpoint.AdoptAfterCurrent)
	p.use(f)
	if live != nil {
		live.replaced = true // before anyone else can have the lock
		live.interrupt()
	}
	return nil
}

// retire closes the generation that was live, once its last look-ups have ended, and removes those before it.
func (p *Projector) retire(f *follower) {
	err := f.model.Close()
	crashpoint.Hit(crashpoint.AdoptAfterClose)
	if err == nil {
		err = p.tidy()
	}
	if err != nil {
		p.log.Error("close the generation before and remove those before it", "generation", f.name, "err", err)
	}
}

// sameHistory tells whether the two can be held against each other. Where the store has another
// identity than the live copy, that is not so, and the other one is right.
func (p *Projector) sameHistory(ctx context.Context, live, other *readmodel.Progress) (bool, error) {
	if live.StoreID == other.StoreID && len(live.Partitions) == len(other.Partitions) {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	if live.StoreID != other.StoreID {
		head, err := p.cfg.Source.Head(ctx)
		switch {
		case err != nil:
			return false, fmt.Errorf("it was made from store %s, the live one from %s, and the source cannot say which is right: %w", other.StoreID, live.StoreID, err)
		case head.StoreID != other.StoreID:
			return false, fmt.Errorf("%w: it was made from store %s, and the source of truth is %s", errOtherStore, other.StoreID, head.StoreID)
		}
		return false, nil
	}
	n, err := p.cfg.Cluster.Partitions(ctx, p.cfg.Topic)
	switch {
	case err != nil:
		return false, fmt.Errorf("it is of %d partitions, the live one of %d, and Kafka cannot say which is right: %w", len(other.Partitions), len(live.Partitions), err)
	case n != len(other.Partitions):
		return false, fmt.Errorf("it is of %d partitions, and the topic has %d", len(other.Partitions), n)
	}
	return false, nil
}

// reach waits until the model has all that another had, while it comes nearer: patience is how
// long it may stand still.
func (f *follower) reach(ctx context.Context, want *readmodel.Progress, patience time.Duration) error {
	still := time.NewTimer(patience)
	defer still.Stop()
	course := f.course.Load()
	at := f.model.Progress()
	want = want.NotAfter(f.cfg.Clock()) // what was taken note of while a clock was ahead does not come
	for {
		changed := f.model.Changed() // before the condition is looked at: no commit is missed
		now := f.model.Progress()
		lacks, err := behind(now, want)
		if err != nil || lacks == "" {
			return err
		}
		if nearer(now, at, want) {
			at = now
			still.Reset(patience)
		}
		select {
		case <-changed:
		case <-course.ended:
			return course.err
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", f.lacking(lacks), context.Cause(ctx))
		case <-still.C:
			return fmt.Errorf("%s, and came no nearer for %s", f.lacking(lacks), patience)
		}
	}
}

func (f *follower) lacking(lacks string) string {
	if why := f.trouble.Load(); why != nil {
		return lacks + " (" + *why + ")"
	}
	return lacks
}

// behind says what a model lacks of what another has, "" where it lacks nothing.
func behind(have, want *readmodel.Progress) (string, error) {
	lacks, first := 0, ""
	for i, w := range want.Partitions {
		h := have.Partitions[i]
		if h.LastEvent == w.LastEvent && h.LastID != w.LastID {
			return "", fmt.Errorf("%w: in partition %d it has another event at position %d than the live generation", errDiverged, i, w.LastEvent)
		}
		if reaches(h, w) {
			continue
		}
		if lacks++; first == "" {
			first = fmt.Sprintf("partition %d is at position %d and the live generation at %d", i, h.Position, w.Position)
			if h.Position >= w.Position {
				first = fmt.Sprintf("partition %d is known to be complete at %s and the live generation at %s", i,
					h.Watermark.Format(time.RFC3339Nano), w.Watermark.Format(time.RFC3339Nano))
			}
		}
	}
	if lacks == 0 {
		return "", nil
	}
	return fmt.Sprintf("it lacks some of what the live generation has in %d of %d partitions: %s", lacks, len(want.Partitions), first), nil
}

// reaches tells that a partition has all that another had.
func reaches(have, want readmodel.Partition) bool {
	return have.Position >= want.Position && !have.Watermark.Before(want.Watermark)
}

// nearer tells that a model has come further, where it lacks something.
func nearer(now, before, want *readmodel.Progress) bool {
	for i, part := range now.Partitions {
		if b := before.Partitions[i]; !reaches(b, want.Partitions[i]) && (part.Position > b.Position || part.Offset > b.Offset || part.Watermark.After(b.Watermark)) {
			return true
		}
	}
	return false
}
