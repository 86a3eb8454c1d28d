package replay

import (
	"context"
	"fmt"
	"os"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Node is the copy of a node of this process: what [Serve] answers for.
type Node struct {
	Region    string
	Projector *projections.Projector
	// Partitions asks how many the topic has, where the node has no copy yet that says it.
	Partitions func(ctx context.Context) (int, error)
}

// Close does nothing: the projector is its owner's.
func (n *Node) Close() error { return nil }

// Info is the node's.
func (n *Node) Info(ctx context.Context) (Info, error) {
	info := Info{Region: n.Region, PID: os.Getpid(), Generation: n.Projector.Generation(), Starting: !n.Projector.Opened()}
	if err := n.Projector.Lost(); err != nil {
		info.Lost = err.Error()
	}
	if m := n.Projector.Live().Model(); m != nil {
		info.of(m.Progress())
		return info, nil
	}
	var err error
	if info.Partitions, err = n.Partitions(ctx); err != nil {
		return info, fmt.Errorf("the node has no copy yet, and cannot find out how many partitions the topic has: %w", err)
	}
	return info, nil
}

// Inspect is the projector's.
func (n *Node) Inspect(context.Context) (Inspection, error) {
	in, err := n.Projector.Inspect()
	if err != nil {
		return nil, err
	}
	return &local{snapshot: in}, nil
}

// Repair is the projector's.
func (n *Node) Repair(ctx context.Context, repairs []projections.Repair) (int, error) {
	return n.Projector.Repair(ctx, repairs)
}

// Recount is the live model's.
func (n *Node) Recount(ctx context.Context) error {
	m := n.Projector.Live().Model()
	if m == nil {
		return readmodel.ErrNoModel
	}
	return m.Recount(ctx)
}

// Adopt is the projector's.
func (n *Node) Adopt(ctx context.Context, generation string) error {
	return n.Projector.Adopt(ctx, generation)
}

// Rollback is the projector's.
func (n *Node) Rollback(ctx context.Context) (string, error) { return n.Projector.Rollback(ctx) }
