package testservers

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// The environment of a test run.
const (
	// EnvKafka is the address of a Kafka to use.
	EnvKafka = "TENANTRY_TEST_KAFKA"
	// EnvNoKafka says why there is none, so that not every process tries to get one again.
	EnvNoKafka = "TENANTRY_TEST_NO_KAFKA"
)

// Kafka returns the address (host:port) of a Kafka that all tests of a run share. Where it cannot
// be had it skips the test, or fails it with REQUIRE_SERVICES=1.
func Kafka(tb testing.TB) string {
	tb.Helper()
	shared, err := sharedKafka()
	if err != nil {
		missing(tb, "Apache Kafka", err)
	}
	return shared.Address
}

// It also keeps our end of the guard's pipe, which otherwise would be collected, and closed.
var sharedKafka = sync.OnceValues(func() (*SharedKafka, error) {
	if address := os.Getenv(EnvKafka); address != "" {
		return &SharedKafka{Address: address}, nil
	}
	if why := os.Getenv(EnvNoKafka); why != "" {
		return nil, errors.New(why)
	}
	// Not of a test: it outlives the one that happens to be first, and ends with the process.
	return StartSharedKafka(context.Background())
})

// SharedKafka is a Kafka of one node that ends with this process at the latest, and leaves nothing.
type SharedKafka struct {
	Address string // host:port
	guarded *guarded
}

// StartSharedKafka starts one, and returns when it is there.
func StartSharedKafka(ctx context.Context) (*SharedKafka, error) {
	tools, err := findTools(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tenantry-kafka-")
	if err != nil {
		return nil, err
	}
	shared := new(SharedKafka)
	c, err := startKafka(ctx, tools, dir, KafkaOptions{}, func(n *KafkaNode, argv ...string) (err error) {
		shared.guarded, err = guard(dir, n.logFile(), argv...)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, shared.Stop(), os.RemoveAll(dir))
	}
	shared.Address = c.Nodes[0].bound[Plaintext]
	return shared, nil
}

// Stop ends it, and removes its data.
func (s *SharedKafka) Stop() error {
	if s.guarded == nil {
		return nil
	}
	return s.guarded.end()
}
