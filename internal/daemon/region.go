package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/replay"
)

// RegionConfig says what a node of a region is made of.
type RegionConfig struct {
	Name     string
	Dir      string // the region's own, with its generations
	Listener net.Listener
	Cluster  *kafka.Cluster
	Topic    string
	Source   projections.Source
	// Served and NoteServed are of [projections.Config].
	Served     uuid.UUID
	NoteServed func(store uuid.UUID)
	// BootstrapFrom is the query API of a node whose copy one without a copy begins with; "": it builds
	// its own from the source.
	BootstrapFrom string
	// ServeSnapshots gives this node's copy to whoever asks the query API.
	ServeSnapshots bool
	// VerifyEvery is how often the node compares its copy with the source; 0: it does not. Heal mends what
	// differs then.
	VerifyEvery time.Duration
	Heal        bool
	Telemetry
}

// Region is one node of a region: it follows the topic and answers look-ups.
type Region struct {
	name      string
	server    *server
	projector *projections.Projector
	control   *replay.Control // nil: it could not be had, and replay cannot reach this node
	stop      context.CancelFunc
	ended     chan struct{}
	err       error         // of the projector; read after ended
	stuck     chan struct{} // closed when it does not end, although it was told to
}

// endTime is how long a node may take to end once it was told to. Badger alone may take 20 s.
const endTime = 30 * time.Second

// OpenRegion starts a node. The cluster and the source stay the caller's. It answers at once,
// and is ready once its copy is.
func OpenRegion(cfg RegionConfig) *Region {
	registerer := prometheus.WrapRegistererWith(prometheus.Labels{"region": cfg.Name}, cfg.Registry)
	p := projections.New(projections.Config{
		Region: cfg.Name, Dir: readmodel.Dir(cfg.Dir), Cluster: cfg.Cluster, Topic: cfg.Topic, Source: cfg.Source,
		Served: cfg.Served, NoteServed: cfg.NoteServed,
		Compare: comparer(cfg), VerifyEvery: cfg.VerifyEvery, Heal: cfg.Heal,
		Logger: cfg.Log, Registerer: registerer, TracerProvider: cfg.Tracer,
	})
	node := &replay.Node{
		Region: cfg.Name, Projector: p,
		Partitions: func(ctx context.Context) (int, error) { return cfg.Cluster.Partitions(ctx, cfg.Topic) },
	}
	begin := &bootstrap{cfg: cfg, from: cfg.BootstrapFrom, log: cfg.Log.With("region", cfg.Name)}
	ready := func() error {
		if err := begin.doing(); err != nil {
			return err
		}
		return p.Ready()
	}
	var snapshot queryapi.Snapshot
	if cfg.ServeSnapshots {
		snapshot = copies(node)
	}
	api := queryapi.New(queryapi.Config{
		Reader: p.Live(), Region: cfg.Name, Node: nodeName(), Ready: ready, Snapshot: snapshot, Following: p.Following, Generation: p.Generation,
		Notice: p.Notice, Verified: func() *queryapi.Verified { return verified(p.Verified()) },
		Logger: cfg.Log, Gatherer: cfg.Registry, Registerer: cfg.Registry, TracerProvider: cfg.Tracer,
	})
	ctx, stop := context.WithCancel(context.Background())
	r := &Region{name: cfg.Name, projector: p, stop: stop, ended: make(chan struct{}), stuck: make(chan struct{}), server: serve(api.Front(cfg.Listener), api, cfg.Log)}
	r.control = controlled(cfg, node)
	go func() {
		defer close(r.ended)
		if cfg.BootstrapFrom != "" && begin.run(ctx) {
			p.VerifySoon()
		}
		if err := p.Run(ctx); err != nil {
			r.err = fmt.Errorf("region %s: %w", cfg.Name, err)
			stop()
		}
	}()
	return r
}

// controlled starts to answer a replay. A node without that serves all the same.
func controlled(cfg RegionConfig, node *replay.Node) *replay.Control {
	c, err := replay.Serve(readmodel.Dir(cfg.Dir), node, cfg.Log.With("region", cfg.Name))
	if err != nil {
		cfg.Log.Warn("a replay cannot reach this node while it runs", "region", cfg.Name, "err", err)
		return nil
	}
	return c
}

// nodeName tells the nodes of a region apart.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// URL is where the query API answers.
func (r *Region) URL() string { return r.server.url }

// Name is the region's.
func (r *Region) Name() string { return r.name }

// Projector is the node's own.
func (r *Region) Projector() *projections.Projector { return r.projector }

// Ended is closed when the node has stopped keeping its copy up to date, by Close or because
// it cannot go on; Err then says why.
func (r *Region) Ended() <-chan struct{} { return r.ended }

// Err is why the node ended; nil after Close.
func (r *Region) Err() error {
	select {
	case <-r.ended:
		return r.err
	case <-r.stuck:
		return nil // Close says so
	}
}

// Close stops answering, then following. A second one does nothing. Where its files were deleted under it, or cannot be written,
// it says that the process has to end, which is all that helps then.
func (r *Region) Close() error {
	var controlErr error
	if r.control != nil {
		controlErr = r.control.Close()
		r.control = nil
	}
	err := r.server.close()
	r.stop()
	if err != nil {
		err = fmt.Errorf("stop the query API of %s: %w", r.name, err)
	}
	return errors.Join(err, controlErr, r.awaitEnd(endTime))
}

func (r *Region) awaitEnd(patience time.Duration) error {
	select {
	case <-r.ended:
		if errors.Is(r.err, readmodel.ErrNotClosed) || errors.Is(r.err, readmodel.ErrLost) {
			return r.err
		}
		return nil
	case <-r.stuck:
		return nil // it was told
	case <-time.After(patience):
		close(r.stuck)
		return fmt.Errorf("region %s did not end within %s of being told to: what it has on its disk is as a kill would leave it", r.name, patience)
	}
}
