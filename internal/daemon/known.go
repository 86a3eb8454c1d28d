package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/internal/durable"
)

// knownDir is where a data directory says which regions ran on it, a file for each: what of
// regions/ is lost, and was not just mistyped, a replay can tell by it. Nobody removes them.
const knownDir = "known-regions"

// knownRegion is what is in such a file.
type knownRegion struct {
	Partitions int `json:"partitions,omitzero"` // of the topic; 0: not told yet
	// Store is the one of which the region has served a copy; zero: it has not yet.
	Store uuid.UUID `json:"store,omitzero"`
}

// memory is what the data directory says of a region, for a node that runs on it.
type memory struct {
	mu              sync.Mutex
	dataDir, region string
}

// note writes down that the region runs here, and what else is known of it now.
func (m *memory) note(news knownRegion) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, known := recall(m.dataDir, m.region)
	was := k
	k.Partitions = cmp.Or(news.Partitions, k.Partitions)
	k.Store = cmp.Or(news.Store, k.Store)
	if known && k == was {
		return nil
	}
	if err := remember(m.dataDir, m.region, k); err != nil {
		return fmt.Errorf("remember that region %s runs here: %w", m.region, err)
	}
	return nil
}

func remember(dataDir, region string, k knownRegion) error {
	dir := filepath.Join(dataDir, knownDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	path := filepath.Join(dir, region)
	b, err := json.Marshal(k)
	if err == nil {
		err = durable.Replace(path, append(b, '\n'))
	}
	return err
}

// recall tells whether a region ever ran here. What the file says may be damaged: then it is nothing.
func recall(dataDir, region string) (k knownRegion, known bool) {
	b, err := os.ReadFile(filepath.Join(dataDir, knownDir, region))
	if err != nil {
		return k, false
	}
	if json.Unmarshal(b, &k) != nil {
		k = knownRegion{}
	}
	return k, true
}

// knownRegions are all that ever ran here, and those of which there is something.
func knownRegions(dataDir string) ([]string, error) {
	var names []string
	for _, dir := range []string{knownDir, "regions"} {
		entries, err := os.ReadDir(filepath.Join(dataDir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == "" {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// askPartitions is between two tries to learn how many partitions the topic has.
const askPartitions = 5 * time.Second

// rememberRegion writes down that a region runs here, how many partitions the topic has once Kafka
// says it, and which store's copy the node serves.
func (p *process) rememberRegion(cfg *RegionConfig) {
	m := &memory{dataDir: filepath.Dir(filepath.Dir(cfg.Dir)), region: cfg.Name}
	failed := func(err error) {
		cfg.Log.Warn("a replay will not know this region by itself, should its directory be lost", "region", cfg.Name, "err", err)
	}
	if err := m.note(knownRegion{}); err != nil {
		failed(err)
		return
	}
	k, _ := recall(m.dataDir, m.region)
	cfg.Served = k.Store
	cfg.NoteServed = func(store uuid.UUID) {
		if err := m.note(knownRegion{Store: store}); err != nil {
			failed(err)
		}
	}
	cluster, topic := cfg.Cluster, cfg.Topic
	p.background(func(ctx context.Context) error {
		for {
			n, err := cluster.Partitions(ctx, topic)
			if err == nil {
				if err := m.note(knownRegion{Partitions: n}); err != nil {
					failed(err)
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(askPartitions):
			}
		}
	})
}
