package daemon

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/replay"
)

// selfCheck has a node hold its own copy against the source, as a replay would from outside.
type selfCheck struct {
	node *replay.Node
	cfg  RegionConfig
}

func (c selfCheck) config(rate int) replay.VerifyConfig {
	// What it notes meanwhile goes where there is room for a region. What it finds the projector tells.
	return replay.VerifyConfig{Region: c.node, Source: c.cfg.Source, Dir: c.cfg.Dir, Rate: rate, Details: 1, Logger: slog.New(slog.DiscardHandler)}
}

func (c selfCheck) compare(ctx context.Context, rate int) (projections.Comparison, error) {
	first := ""
	cfg := c.config(rate)
	cfg.Each = func(d replay.Difference) error {
		if first == "" {
			first = d.Stream.String()
		}
		return nil
	}
	r, err := replay.Verify(ctx, cfg)
	if err != nil {
		return projections.Comparison{}, err
	}
	if first == "" && !r.Equal() {
		first = "the sums that it keeps"
	}
	return projections.Comparison{
		Position: r.Position, Tenants: r.Tenants, Differences: max(r.Differences(), min(r.WrongSums, 1)), First: first, Took: r.Took,
	}, nil
}

// healing is how the node heals itself; nil where it is not to.
func (c selfCheck) healing() func(ctx context.Context, rate int) (int, error) {
	if !c.cfg.Heal {
		return nil
	}
	return func(ctx context.Context, rate int) (int, error) {
		r, err := replay.Repair(ctx, c.config(rate))
		if err != nil {
			return 0, err
		}
		if len(r.Left) > 0 {
			return r.Repaired, fmt.Errorf("%d streams differ still, such as %s", len(r.Left), r.Left[0].Stream)
		}
		return r.Repaired, nil
	}
}

// verified is what /v1/status tells of it.
func verified(v *projections.Verified) *queryapi.Verified {
	if v == nil {
		return nil
	}
	return &queryapi.Verified{
		At: v.At, Result: string(v.Result), Position: v.Position, Different: v.Different, Healed: v.Healed, Error: v.Error,
	}
}
