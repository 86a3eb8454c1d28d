package projections

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// Comparison is what holding the copy against the source of truth has given.
type Comparison struct {
	Position    uint64   // up to which everything was compared
	Tenants     uint64   // that the source has
	Differences int      // streams that are not what the source says
	Removed     int      // those of them that the source does not have
	Repairs     []Repair // that would mend them, or the first very many of them
	// Scanned are the sums of all that is stored in what was compared; nil: not known.
	Scanned *readmodel.Sums
	Took    time.Duration
}

// Verified is how a node's last comparison of its copy with the source of truth went.
type Verified struct {
	At        time.Time
	Result    VerifyResult
	Position  uint64 // up to which everything was compared; 0 where that failed
	Different int    // streams that were not what the source says
	Healed    int    // streams that were folded anew since
	Error     string // why there is no result, or why not all was healed; "": neither
}

// VerifyResult is what a comparison has shown.
type VerifyResult string

// The results of a comparison.
const (
	VerifiedEqual     VerifyResult = "equal"
	VerifiedDifferent VerifyResult = "different"
	VerifyFailed      VerifyResult = "failed" // nothing is known
)

const (
	verifyRate = 20_000      // records of the copy read in a second, beside look-ups
	verifySoon = time.Minute // after one that another generation has cut off
	// A copy of which more than one stream in so many tenants differs is not healed by itself: it is
	// rather a wrong source than a damaged copy. A few always are, unless the source has fewer tenants than that would
	// take away.
	healOneIn = 5
	healFew   = 100
)

// Verified is how the last comparison went; nil before the first.
func (p *Projector) Verified() *Verified { return p.verified.Load() }

// VerifySoon has the node compare its copy as soon as it is ready, and not only when it is time.
func (p *Projector) VerifySoon() {
	select {
	case p.verifyNow <- struct{}{}:
	default: // it will
	}
}

// keepVerified compares the copy of a node that is ready with the source of truth now and then.
func (p *Projector) keepVerified(ctx context.Context) {
	if p.cfg.Compare == nil {
		return
	}
	// At any time within the first round, so that nodes that were started together do not come together.
	next := time.Duration(float64(p.cfg.VerifyEvery) * rand.Float64())
	for p.awaitVerify(ctx, next) {
		next = p.cfg.VerifyEvery
		v := p.verify(ctx)
		if v == nil {
			next = min(next, verifySoon)
			continue
		}
		p.metrics.verified(v)
		p.verified.Store(v)
	}
}

// awaitVerify waits until a comparison is due, or asked for; false: the node ends.
func (p *Projector) awaitVerify(ctx context.Context, next time.Duration) bool {
	var due <-chan time.Time
	if p.cfg.VerifyEvery > 0 {
		timer := time.NewTimer(next)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-p.verifyNow:
	case <-due:
	}
	return true
}

// verify compares the copy, and heals it where that is asked for; nil where it was cut off.
func (p *Projector) verify(ctx context.Context) *Verified {
	at := p.cfg.Clock().UTC().Truncate(time.Second)
	if err := p.Lost(); err != nil { // what is open may well be equal, and is gone with the process
		return &Verified{At: at, Result: VerifyFailed, Error: err.Error()}
	}
	var c Comparison
	in, err := p.Inspect()
	if err == nil {
		defer in.Close() // it never fails; what is healed is counted by it
		c, err = p.cfg.Compare(ctx, in, verifyRate)
	}
	v := &Verified{At: at, Position: c.Position, Different: c.Differences}
	switch {
	case ctx.Err() != nil, errors.Is(err, readmodel.ErrClosed), errors.Is(err, readmodel.ErrNoModel):
		return nil // the node ends, or another generation has come
	case err != nil:
		p.log.Warn("cannot compare this copy with the source of truth now", "err", err)
		return &Verified{At: at, Result: VerifyFailed, Error: err.Error()}
	case c.Differences == 0:
		p.log.Info("this copy is what the source of truth says", "position", c.Position, "tenants", c.Tenants, "took", c.Took.Round(time.Millisecond))
		v.Result = VerifiedEqual
		return v
	}
	v.Result = VerifiedDifferent
	first := "the sums that it keeps"
	if len(c.Repairs) > 0 {
		first = c.Repairs[0].String()
	}
	p.log.Error("this copy is not what the source of truth says: 'tenantry replay --verify' names all that differs, and --repair mends it",
		"position", c.Position, "different", c.Differences, "first", first)
	if !p.cfg.Heal {
		return v
	}
	if v.Healed, err = p.healFrom(ctx, in, c); err != nil {
		v.Error = err.Error()
		p.log.Error("this copy was not healed, or not all of it", "healed", v.Healed, "err", err)
		return v
	}
	p.log.Warn("this copy was healed", "streams", v.Healed)
	return v
}

// healFrom mends what a comparison has found.
func (p *Projector) healFrom(ctx context.Context, in *readmodel.Inspection, c Comparison) (healed int, err error) {
	switch {
	case uint64(c.Removed) > c.Tenants:
		return 0, fmt.Errorf("the source does not have %d tenants, databases and groups that this copy has, and no more than %d tenants: that is too much to be taken away without a person who looks at it", c.Removed, c.Tenants)
	case c.Differences > healFew && uint64(c.Differences) > c.Tenants/healOneIn:
		return 0, fmt.Errorf("%d streams differ, where the source has %d tenants: that is too much to be mended without a person who looks at it", c.Differences, c.Tenants)
	}
	healed, err = p.Repair(ctx, c.Repairs)
	unmended, some := errors.AsType[*UnmendedError](err)
	if err != nil && !some {
		return healed, err
	}
	// What damage did to the copy behind the back of its sums is in them still. The comparison has read all
	// that there was, and what that came to is right for them now, too, unless somebody else has counted anew meanwhile.
	m := p.current.Load().model
	err = readmodel.ErrRecounted
	if c.Scanned != nil {
		err = m.Recounted(in, c.Scanned)
	}
	if errors.Is(err, readmodel.ErrRecounted) {
		err = m.Recount(ctx)
	}
	if err == nil && some {
		err = unmended
	}
	return healed, err
}
