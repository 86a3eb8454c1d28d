package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/telemetry"
)

// Observed says what a process tells about itself.
type Observed struct {
	TraceURL string // of an OTLP collector; "": no tracing
	Version  string
	Logger   *slog.Logger
}

// Kafka says which Kafka, and which topic of it.
type Kafka struct {
	Brokers []string
	Topic   string
	// Partitions is of the topic, which is made where it is not there; never changed afterwards.
	Partitions int
	// These are what the topic should have; 0: what the cluster gives it.
	Replication, MinInSync int
	Retention              time.Duration

	// Connections are secured where TLS is set, or any of the files.
	TLS                                   bool
	CAFile, CertFile, KeyFile, ServerName string
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; "": no login.
	Mechanism, User, Password, PasswordFile string

	retentionBytes int64
}

func (k Kafka) topic() kafka.Topic {
	return kafka.Topic{
		Name: k.Topic, Partitions: k.Partitions, Replication: k.Replication, MinInSync: k.MinInSync,
		Retention: k.Retention, RetentionBytes: k.retentionBytes,
	}
}

func (k Kafka) cluster() kafka.Config {
	return kafka.Config{
		Brokers: k.Brokers,
		TLS:     kafka.TLS{Enabled: k.TLS, CAFile: k.CAFile, CertFile: k.CertFile, KeyFile: k.KeyFile, ServerName: k.ServerName},
		SASL: kafka.SASL{
			Mechanism: k.Mechanism, User: k.User, Password: kafka.Secret(k.Password), PasswordFile: k.PasswordFile,
		},
	}
}

const topicTime = 5 * time.Second // for Kafka to answer at the start, before going on without it

// process is what one process runs, of any kind: its parts are closed in the reverse order, and
// any of them may fail by itself.
type process struct {
	telemetry Telemetry
	brokers   []string
	makeTopic func(context.Context) error // where it is not there
	catalogue *Catalogue
	regions   []*Region
	failed    chan error
	servers   int // that share the files that this process may have open; 0: one
	closers   []func() error
}

// observe comes first: all other parts report to what it sets up.
func (p *process) observe(ctx context.Context, cfg Observed) error {
	p.failed = make(chan error, 1)
	p.telemetry = Telemetry{Log: cfg.Logger, Registry: telemetry.Registry()}
	tracer, stopTracing, err := telemetry.Tracing(ctx, cfg.TraceURL, cfg.Version, cfg.Logger)
	if err != nil {
		return err
	}
	p.telemetry.Tracer = tracer
	p.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), cutTime)
		defer cancel()
		return stopTracing(ctx)
	})
	return nil
}

// listen takes an address, before anything is done that would have been in vain without it.
func (p *process) listen(ctx context.Context, address, flag string) (net.Listener, error) {
	ln, err := listen(ctx, address, flag)
	if err != nil {
		return nil, err
	}
	p.onClose(func() error { return notClosed(ln.Close()) })
	return limit(ln, connectionLimit(openFiles(), p.servers), p.telemetry.Log), nil
}

// openCluster makes a client of a cluster, which asks it nothing yet.
func (p *process) openCluster(k Kafka) (*kafka.Cluster, error) {
	cfg := k.cluster()
	cfg.Logger = p.telemetry.Log
	cluster, err := kafka.New(cfg)
	if err != nil {
		return nil, err
	}
	p.onClose(cluster.Close)
	p.brokers = k.Brokers
	return cluster, nil
}

// openKafka opens a cluster, and makes the topic where it is not there.
func (p *process) openKafka(ctx context.Context, k Kafka) (*kafka.Cluster, error) {
	cluster, err := p.openCluster(k)
	if err != nil {
		return nil, err
	}
	p.makeTopic = func(ctx context.Context) error { return cluster.EnsureTopic(ctx, k.topic()) }
	return cluster, p.topicSoon(ctx)
}

// topicSoon makes the topic where it is not there. Brokers that are away are waited for in the
// background: commands and look-ups do not depend on them.
func (p *process) topicSoon(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, topicTime)
	err := p.makeTopic(soon)
	cancel()
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p.telemetry.Log.Warn("Kafka does not answer: going on without it until it does", "brokers", p.brokers)
	p.background(p.makeTopic)
	return nil
}

// openCatalogue starts the write side.
func (p *process) openCatalogue(cfg CatalogueConfig) error {
	cfg.Telemetry = p.telemetry
	c, err := OpenCatalogue(cfg)
	if err != nil {
		return err
	}
	p.catalogue = c
	p.onClose(c.Close)
	return nil
}

// regionDir is where a region's generations are, below a data directory.
func regionDir(dataDir, region string) string { return filepath.Join(dataDir, "regions", region) }

// openRegion starts a node.
func (p *process) openRegion(cfg RegionConfig) {
	cfg.Telemetry = p.telemetry
	p.rememberRegion(&cfg)
	r := OpenRegion(cfg)
	p.regions = append(p.regions, r)
	p.background(func(context.Context) error { return r.Err() }) // ends with the region, so it is closed after it
	p.onClose(r.Close)
}

// background runs something until the process is closed. When that fails, so has the process.
func (p *process) background(task func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := task(ctx); err != nil && ctx.Err() == nil {
			select {
			case p.failed <- err:
			default: // one reason is enough to end
			}
		}
	})
	p.onClose(func() error {
		cancel()
		running.Wait()
		return nil
	})
}

// Failed delivers why a part has stopped by itself; then everything should be closed.
func (p *process) Failed() <-chan error { return p.failed }

func (p *process) onClose(f func() error) { p.closers = append(p.closers, f) }

// Close stops everything, in the reverse order. It may be called again.
func (p *process) Close() error {
	p.drain()
	var errs []error
	for len(p.closers) > 0 {
		last := p.closers[len(p.closers)-1]
		p.closers = p.closers[:len(p.closers)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

// drain stops all servers at once: one after the other, the time that each leaves to the requests
// under way would add up to more than a stop may take.
func (p *process) drain() {
	var draining sync.WaitGroup
	for _, r := range p.regions {
		draining.Go(func() { _ = r.server.close() }) // the region's Close returns the error
	}
	if p.catalogue != nil {
		draining.Go(func() { _ = p.catalogue.server.close() }) // the same
	}
	draining.Wait()
}
