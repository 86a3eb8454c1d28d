package projections

import (
	"errors"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// update is one attempt to commit several events together. What is counted and logged of them
// waits until they are committed, since an update that does not fit is made anew.
type update struct {
	*readmodel.Tx
	// unfit is why the one event of this update could not be stored when it was tried: it goes
	// into quarantine in place of its stream being changed. nil: nothing was tried yet.
	unfit error

	outcomes []outcome      // what became of each event
	toTell   []events.Event // those of them that went into quarantine
	bad      []delivery     // records that are passed over
}

func (u *update) tell(o outcome, e events.Event) {
	u.outcomes = append(u.outcomes, o)
	if o == quarantined {
		u.toTell = append(u.toTell, e)
	}
}

// inUpdates calls do with 0, 1 … n-1, as many in one update as fit, and says for how many of
// them it committed, and how many it folded. do returns false to end early, and must then have changed nothing. It may
// be called again for the same i, in an update that is made anew.
//
// What cannot be stored is found by making the update smaller: an event that does not fit
// alone is the one, and its stream goes into quarantine. The others are stored as if it were
// not there.
func (f *follower) inUpdates(n int, do func(u *update, i int) (bool, error)) (done, news int, err error) {
	limit := n
	var unfit error
	for {
		u := &update{unfit: unfit}
		next, tried, more := done, 0, true
		err := f.update(func(tx *readmodel.Tx) (err error) {
			u.Tx = tx
			for next < n && next < done+limit && tx.Size() < readmodel.MaxUpdate {
				tried++
				if more, err = do(u, next); err != nil || !more {
					return err
				}
				next++
			}
			crashpoint.Hit(crashpoint.FoldBeforeCommit)
			return nil
		})
		switch {
		case cannotBeStored(err) && tried > 1:
			limit = tried / 2
			continue
		case cannotBeStored(err) && unfit == nil:
			limit, unfit = 1, err
			continue
		case err != nil:
			return done, news, err
		}
		crashpoint.Hit(crashpoint.FoldAfterCommit)
		news += f.committed(u)
		done, unfit, limit = next, nil, min(2*limit, n)
		if done == n || !more {
			return done, news, nil
		}
	}
}

// cannotBeStored tells that an update failed by what it says, and not by the disk.
func cannotBeStored(err error) bool {
	return errors.Is(err, readmodel.ErrTooBig) || errors.Is(err, readmodel.ErrUnencodable)
}

// tellBadEvery is how often a record that is passed over is logged at most. All are counted.
const tellBadEvery = time.Minute

// committed counts what became of the events of an update, and logs what an operator has to know.
// It says how many were folded.
func (f *follower) committed(u *update) (news int) {
	live := f.live.Load()
	for _, o := range u.outcomes {
		if live {
			f.metrics.count(o)
		}
		if o == folded {
			news++
		}
	}
	for _, e := range u.toTell {
		f.log.Error("an event cannot be folded: its stream is in quarantine and keeps its last good state",
			"stream", e.Stream, "version", e.Version, "position", e.Position, "type", e.Type)
	}
	f.metrics.badRecords.Add(float64(len(u.bad)))
	for _, d := range u.bad {
		now := f.cfg.Clock()
		if now.Sub(f.toldBad) < tellBadEvery {
			break
		}
		f.toldBad = now
		f.log.Error("passing over a record that is not ours or is damaged; an event lost with it will be read from the source",
			"partition", d.partition, "offset", d.offset, "key", d.key, "err", d.err, "told_again_after", tellBadEvery)
	}
	return news
}
