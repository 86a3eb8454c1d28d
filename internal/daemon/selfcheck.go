package daemon

import (
	"context"
	"log/slog"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/replay"
)

// comparer has a node hold its own copy against the source, as a replay would from outside. What it
// notes meanwhile goes where there is room for a region, and what it finds the projector tells.
func comparer(cfg RegionConfig) func(context.Context, *readmodel.Inspection, int) (projections.Comparison, error) {
	return replay.Comparer(cfg.Source, readmodel.Dir(cfg.Dir), slog.New(slog.DiscardHandler))
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
