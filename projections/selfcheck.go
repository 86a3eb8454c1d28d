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
	Position    uint64 // up to which everything was compared
	Tenants     uint64 // that the source has
	Differences int
	Repairs     []Repair // that would mend them
	Took        time.Duration
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
	verifyRate  = 20_000      // records of the copy read in a second, beside look-ups
	verifySoon  = time.Minute // after one that another generation has cut off
	healAtMost  = 5           // one of so many tenants; more is rather a wrong source than a damaged copy
	healAnyways = 100         // streams, of however few
)

// Verified is how the last comparison went; nil before the first.
func (p *Projector) Verified() *Verified { return p.verified.Load() }

// VerifySoon has the node compare its copy now, and not only when it is time.
func (p *Projector) VerifySoon() {
	select {
	case p.verifyNow <- struct{}{}:
	default: // it will
	}
}

// keepVerified compares the copy with the source of truth now and then.
func (p *Projector) keepVerified(ctx context.Context) {
	if p.cfg.Compare == nil {
		return
	}
	// At any time within the first round, so that nodes that were started together do not come together.
	next := time.Duration(float64(p.cfg.VerifyEvery) * rand.Float64())
	for {
		var due <-chan time.Time
		timer := time.NewTimer(next)
		if p.cfg.VerifyEvery > 0 {
			due = timer.C
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.verifyNow:
		case <-due:
		}
		timer.Stop()
		v := p.verify(ctx)
		if next = p.cfg.VerifyEvery; v == nil {
			next = min(next, verifySoon)
			continue
		}
		p.verified.Store(v)
		p.metrics.verified(v)
	}
}

// verify compares the copy, and heals it where that is asked for; nil where it was cut off.
func (p *Projector) verify(ctx context.Context) *Verified {
	began := p.cfg.Clock().UTC()
	in, err := p.Inspect()
	if errors.Is(err, readmodel.ErrNoModel) {
		return nil
	}
	var c Comparison
	if err == nil {
		c, err = p.cfg.Compare(ctx, in, verifyRate)
		err = errors.Join(err, in.Close())
	}
	v := &Verified{At: began, Position: c.Position, Different: c.Differences}
	switch {
	case ctx.Err() != nil, errors.Is(err, readmodel.ErrClosed):
		return nil // the node ends, or another generation has come
	case err != nil:
		p.log.Warn("cannot compare this copy with the source of truth now", "err", err)
		return &Verified{At: began, Result: VerifyFailed, Error: err.Error()}
	case c.Differences == 0:
		p.log.Info("this copy is what the source of truth says", "position", c.Position, "tenants", c.Tenants, "took", c.Took)
		v.Result = VerifiedEqual
		return v
	}
	v.Result = VerifiedDifferent
	p.log.Error("this copy is not what the source of truth says", "position", c.Position, "different", c.Differences,
		"first", firstOf(c.Repairs), "heal", p.cfg.Heal)
	if !p.cfg.Heal {
		return v
	}
	if err := p.heal(ctx, c, v); err != nil {
		v.Error = err.Error()
		p.log.Error("this copy was not healed, or not all of it", "healed", v.Healed, "err", err)
	}
	return v
}

// heal mends what differs.
func (p *Projector) heal(ctx context.Context, c Comparison, v *Verified) (err error) {
	if n := len(c.Repairs); n > healAnyways && uint64(n) > c.Tenants/healAtMost {
		return fmt.Errorf("%d streams differ, where the source has %d tenants: that is too many to be mended by itself; look with tenantry replay --region %s --verify", n, c.Tenants, p.cfg.Region)
	}
	if v.Healed, err = p.Repair(ctx, c.Repairs); err != nil {
		return err
	}
	// What damage did to the sums behind their back is in them still.
	return p.current.Load().model.Recount(ctx)
}

func firstOf(repairs []Repair) string {
	if len(repairs) == 0 {
		return "its sums"
	}
	return repairs[0].String()
}
