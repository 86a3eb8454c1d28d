package projections

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// watchEvery is how soon it is noticed that files were deleted under the node. It costs a question to the kernel for each.
const watchEvery = 10 * time.Second

// watchFiles tells when files of the live generation are gone: look-ups go on, and nothing else would show it before the next
// start, which could not open them.
func (p *Projector) watchFiles(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = p.Lost() // it tells of it
		}
	}
}

// Lost is nil while all files of the live generation are there, and else a [readmodel.ErrLost].
func (p *Projector) Lost() error {
	f := p.current.Load()
	if f == nil {
		return nil
	}
	err := f.model.Lost()
	if !errors.Is(err, readmodel.ErrLost) || f != p.current.Load() {
		p.lost.Store(nil)
		return nil
	}
	what := err.Error()
	if was := p.lost.Swap(&what); was == nil {
		p.log.Error("this node answers from files that were deleted under it, and cannot be started on them again:"+
			" rebuild the region now ('tenantry replay'), while it serves", "generation", f.name, "err", err)
	}
	return err
}
