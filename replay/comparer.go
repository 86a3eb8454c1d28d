package replay

import (
	"context"
	"log/slog"
	"time"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// mostRepairs is how many repairs a comparison hands over at most. A copy with more is to be rebuilt.
const mostRepairs = 100_000

// Comparer is how a node compares its own copy with the source, as [Verify] does: see
// [projections.Config]. The directory is where it keeps what it compares. The source's whole log is read once a
// day, and when something differs; else what has changed since.
func Comparer(source Source, dir readmodel.Dir, log *slog.Logger) func(context.Context, *readmodel.Inspection, int) (projections.Comparison, error) {
	return func(ctx context.Context, in *readmodel.Inspection, rate int) (projections.Comparison, error) {
		began := time.Now()
		var c projections.Comparison
		moment := &local{snapshot: in}
		report, err := compare(ctx, VerifyConfig{
			Source: source, Dir: string(dir), Rate: rate, Logger: log, AtHand: true,
			Details: -1, // which streams, is enough
			Each: func(d Difference) error {
				if len(c.Repairs) < mostRepairs {
					c.Repairs = append(c.Repairs, d.repair())
				}
				return nil
			},
		}, moment)
		if err != nil {
			return projections.Comparison{}, err
		}
		c.Scanned = moment.sums.Load()
		c.Position, c.Tenants, c.Differences, c.Removed, c.Took = report.Position, report.Tenants, report.Differences(), report.Extra, time.Since(began)
		if c.Differences == 0 && report.WrongSums > 0 {
			c.Differences = 1 // of the copy as a whole: nothing of it is answered wrongly, and it is to be counted anew
		}
		return c, nil
	}
}
