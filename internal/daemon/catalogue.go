package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/events/relay"
)

const (
	keyAge   = 48 * time.Hour // that an idempotency key is kept at least: a client's retries are over by then
	keySweep = time.Hour
	askRelay = 30 * time.Second // between two tries of a relay that refuses
)

// Telemetry is what each part reports to.
type Telemetry struct {
	Log      *slog.Logger
	Registry *prometheus.Registry
	Tracer   trace.TracerProvider // nil: no tracing
}

// CatalogueConfig says what a write side is made of.
type CatalogueConfig struct {
	Listener    net.Listener
	Store       events.Store
	Cluster     *kafka.Cluster
	Topic       string
	Partitions  int
	HomeRegions []string
	// MakeTopic makes the topic where it is not there; nil: it is there, and nobody deletes it.
	MakeTopic func(context.Context) error
	// Lead is for a store that several processes share; see [relay.Config]. nil: there is no other.
	Lead func(context.Context) (lead context.Context, release func(), err error)
	// Was tells which identities the store had before; see [relay.Config]. nil: it never had another.
	Was func(context.Context, uuid.UUID) (bool, error)
	// Renew gives a store that was restored to an earlier past a new identity, so that what it has
	// now is published, and has it know lost, where that is not zero, for one that it had; nil: a person has to.
	Renew func(ctx context.Context, lost uuid.UUID) error
	// RestoredAdvice is what that person is told to do; see [relay.Config].
	RestoredAdvice string
	Telemetry
}

// Catalogue is the write side: the admin API on a store, and the relay that publishes it.
type Catalogue struct {
	server *server
	relay  *relay.Relay
	stop   context.CancelFunc
	tasks  sync.WaitGroup
}

// OpenCatalogue starts the write side. The store and the cluster stay the caller's.
func OpenCatalogue(cfg CatalogueConfig) (*Catalogue, error) {
	topic := relay.KafkaTopic(cfg.Cluster, cfg.Topic)
	if cfg.Lead != nil {
		topic = relay.FencedKafkaTopic(cfg.Cluster, cfg.Topic)
	}
	r, err := relay.New(relay.Config{
		Store: cfg.Store, Topic: topic, Partitions: cfg.Partitions, MakeTopic: cfg.MakeTopic, Lead: cfg.Lead, Was: cfg.Was, RestoredAdvice: cfg.RestoredAdvice,
		Logger: cfg.Log, Registerer: cfg.Registry, TracerProvider: cfg.Tracer,
	})
	if err != nil {
		return nil, err
	}
	again := &topicReplayer{store: cfg.Store, relay: r, cluster: cfg.Cluster, topic: cfg.Topic, log: cfg.Log}
	api, err := adminapi.New(adminapi.Config{
		Commands: commands.NewHandler(cfg.Store, commands.Config{
			HomeRegions: cfg.HomeRegions, Logger: cfg.Log, Registerer: cfg.Registry,
		}),
		Store: cfg.Store, Partitions: cfg.Partitions, Checks: []adminapi.Check{relayReady(r)}, ReplayTopic: again.run,
		Logger: cfg.Log, Gatherer: cfg.Registry, Registerer: cfg.Registry, TracerProvider: cfg.Tracer,
		Loopback: onLoopback(cfg.Listener),
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Catalogue{relay: r, stop: stop, server: serve(cfg.Listener, api, cfg.Log)}
	c.tasks.Go(func() { publish(ctx, r, cfg.Renew, cfg.Log) })
	c.tasks.Go(func() { dropKeys(ctx, cfg.Store, cfg.Log) })
	return c, nil
}

// publish runs the relay. One that refuses to publish is asked again now and then, since the topic
// may have been mended meanwhile. The store is the truth and goes on taking commands.
func publish(ctx context.Context, r *relay.Relay, renew func(context.Context, uuid.UUID) error, log *slog.Logger) {
	for {
		err := r.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, relay.ErrRestored) && renew != nil {
			log.Warn("the store was restored to an earlier past: going on from there, as --accept-restore says", "found", err)
			if err = renew(ctx, relay.LostStoreID(err)); err == nil {
				continue
			}
		}
		log.Error("the relay does not publish: regions get no more events", "err", err)
		timer := time.NewTimer(askRelay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// relayReady is what /readyz says of the relay. One that cannot reach Kafka is no reason to take
// no commands; one that refuses to publish needs a person.
func relayReady(r *relay.Relay) adminapi.Check {
	return adminapi.Check{Name: "relay", Ready: func(context.Context) error {
		if s := r.Status(); s.State == relay.StateRefused {
			return errors.New(s.Error)
		}
		return nil
	}, Trouble: func() string {
		// Of one that does not lead the error may be old: another publishes.
		if s := r.Status(); s.Leading && (s.State == relay.StateStalled || s.State == relay.StateFailing) {
			return "publishes nothing now: " + s.Error
		}
		return ""
	}}
}

// dropKeys forgets old idempotency keys, now and then.
func dropKeys(ctx context.Context, store events.Store, log *slog.Logger) {
	tick := time.NewTicker(keySweep)
	defer tick.Stop()
	for {
		n, err := store.DropKeys(ctx, time.Now().Add(-keyAge))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Warn("cannot forget old idempotency keys now", "err", err)
		case n > 0:
			log.Debug("forgot old idempotency keys", "keys", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// URL is where the admin API answers.
func (c *Catalogue) URL() string { return c.server.url }

// Relay is the catalogue's own.
func (c *Catalogue) Relay() *relay.Relay { return c.relay }

// Close stops taking commands, then publishing.
func (c *Catalogue) Close() error {
	err := c.server.close()
	c.stop()
	c.tasks.Wait()
	if err != nil {
		return errors.Join(fmt.Errorf("stop the admin API: %w", err))
	}
	return nil
}
