package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// knownDir is where a data directory says which regions ran on it, a file for each: what of
// regions/ is lost, and was not just mistyped, a replay can tell by it. Nobody removes them.
const knownDir = "known-regions"

// knownRegion is what is in such a file.
type knownRegion struct {
	Partitions int `json:"partitions,omitzero"` // of the topic; 0: not told yet
}

// remember writes down that a region runs here.
func remember(dataDir, region string, k knownRegion) error {
	dir := filepath.Join(dataDir, knownDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("remember that region %s runs here: %w", region, err)
	}
	path := filepath.Join(dir, region)
	if was, known := recall(dataDir, region); known && (was == k || k == knownRegion{}) {
		return nil
	}
	b, err := json.Marshal(k)
	if err == nil {
		err = writeSynced(path+".new", append(b, '\n'))
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("remember that region %s runs here: %w", region, err)
	}
	return nil
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

// rememberRegion writes down that a region runs here, and how many partitions the topic has once Kafka
// says it.
func (p *process) rememberRegion(cfg RegionConfig) {
	dataDir := filepath.Dir(filepath.Dir(cfg.Dir))
	failed := func(err error) {
		cfg.Log.Warn("a replay will not know this region by itself, should its directory be lost", "region", cfg.Name, "err", err)
	}
	if err := remember(dataDir, cfg.Name, knownRegion{}); err != nil {
		failed(err)
		return
	}
	p.background(func(ctx context.Context) error {
		for {
			n, err := cfg.Cluster.Partitions(ctx, cfg.Topic)
			if err == nil {
				if err := remember(dataDir, cfg.Name, knownRegion{Partitions: n}); err != nil {
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

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
