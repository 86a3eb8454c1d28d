package replay

import (
	"context"
	"log/slog"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// repairModel is projections.RepairModel.
var repairModel func(ctx context.Context, m *readmodel.Model, source Source, repairs []StreamRepair, log *slog.Logger) (int, error)

// previous is Dir.Previous.
var previous func(readmodel.Dir) (string, error)
