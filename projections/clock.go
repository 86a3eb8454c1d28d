package projections

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// keepTime lowers watermarks that lie in the future. The clock was ahead when they came, and was set right: until it came there
// again the copy would look as if it were complete now, whatever it lacks, and no other could ever have what this one has.
//
// When it was complete is not known any more; that it was before now is.
func (f *follower) keepTime(ctx context.Context) {
	ticker := time.NewTicker(clockEvery)
	defer ticker.Stop()
	for told := false; ; {
		err := f.lowerMarks()
		if failed := err != nil && !errors.Is(err, errReplaced) && ctx.Err() == nil; failed && !told {
			told = true
			f.log.Warn("cannot take back a time that was taken note of while the clock was ahead", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (f *follower) lowerMarks() error {
	if p := f.model.Progress(); p.NotAfter(f.cfg.Clock()) == p {
		return nil
	}
	lowered := false
	err := f.update(func(tx *readmodel.Tx) error {
		p := tx.Progress()
		for i, part := range p.NotAfter(f.cfg.Clock()).Partitions {
			lowered = lowered || part != p.Partitions[i]
			p.Partitions[i] = part
		}
		return nil
	})
	if err == nil && lowered {
		f.log.Warn("the clock was set back: when this copy was complete is not known, but that it was before now")
	}
	return err
}
