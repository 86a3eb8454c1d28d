package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// retentionEvery keeps kfake's index of batches, which is in memory, small, although the
	// relay writes a watermark to each partition every second.
	retentionEvery = time.Minute

	// segmentBytes is the size of the files that a partition's log is cut into. Retention
	// removes whole files, so it bounds what a partition may take beyond its retention.
	segmentBytes = 8 << 20
)

// Config says where the broker keeps its data and where it listens.
type Config struct {
	DataDir string       // made when absent; one process at a time
	Listen  string       // host:port of --kafka-listen; port 0 takes a free one. 127.0.0.1:0 when empty
	Logger  *slog.Logger // slog.Default() when nil

	RetentionEvery time.Duration // how often old records are removed; a minute when zero
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	lock    *dirLock
	close   sync.Once

	stop    chan struct{}
	retired sync.WaitGroup
}

// Open starts the broker on its data directory. It may listen on another port than before.
func Open(ctx context.Context, config Config) (*Broker, error) {
	if config.DataDir == "" {
		return nil, errors.New("the embedded broker needs a data directory")
	}
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.RetentionEvery <= 0 {
		config.RetentionEvery = retentionEvery
	}
	if err := os.MkdirAll(config.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the embedded broker's data directory: %w", err)
	}
	lock, err := lockDir(filepath.Join(config.DataDir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("embedded broker: data directory %s: %w", config.DataDir, err)
	}
	listener, err := listen(ctx, config.Listen)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	if err := dropDamaged(config.DataDir, config.Logger.With("component", "broker")); err != nil {
		return nil, errors.Join(err, closed(listener.Close()), lock.release())
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("tenantry-embedded"),
		kfake.DataDir(config.DataDir),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return listener, nil }),
		kfake.WithLogger(logger{config.Logger.With("component", "broker")}),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes": strconv.Itoa(segmentBytes),
		}),
	)
	if err != nil {
		return nil, errors.Join(
			fmt.Errorf("open the embedded broker's data in %s (it can be deleted: the regions come back from the store): %w", config.DataDir, err),
			closed(listener.Close()), lock.release())
	}
	b := &Broker{cluster: cluster, addr: listener.Addr().String(), lock: lock, stop: make(chan struct{})}
	b.retired.Go(func() { b.retain(config.RetentionEvery) })
	return b, nil
}

// retain applies the retention of all topics now and then. kfake does so by itself only
// after a topic was made or changed, not for the topics that it finds in its directory.
func (b *Broker) retain(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.cluster.ApplyRetention()
		case <-b.stop:
			return
		}
	}
}

// listen takes the address, or says in one line why it cannot.
func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("embedded broker: address %s is in use: stop the program that uses it, or choose another with --kafka-listen (port 0 takes a free one)", address)
	case err != nil:
		return nil, fmt.Errorf("embedded broker: listen on %s (--kafka-listen): %w", address, err)
	}
	if host, _, err := net.SplitHostPort(listener.Addr().String()); err == nil && net.ParseIP(host).IsUnspecified() {
		return nil, errors.Join(
			fmt.Errorf("embedded broker: cannot listen on %s: clients are told this address, so --kafka-listen has to name one that they can reach", address),
			listener.Close())
	}
	return listener, nil
}

// closed drops the error of closing what was closed before.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Addr is the host:port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker and writes what makes the next start fast. It may be called again.
func (b *Broker) Close() error {
	var err error
	b.close.Do(func() {
		close(b.stop)
		b.retired.Wait()
		b.cluster.Close()
		err = b.lock.release()
	})
	return err
}

// logger passes kfake's log on. Its Info is about single connections, which is our Debug.
type logger struct{ to *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	case kfake.LogLevelInfo, kfake.LogLevelDebug, kfake.LogLevelNone:
	}
	if ctx := context.Background(); l.to.Enabled(ctx, to) {
		l.to.Log(ctx, to, fmt.Sprintf(format, args...))
	}
}
