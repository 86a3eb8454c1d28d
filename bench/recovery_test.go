package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"

	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/replay"
)

// What it takes to get a region back that has ten events a tenant in its store; [EnvTenants] says how many
// tenants. Ready: until the node serves and has all that the store has.
//
//	rebuild-s          replay of a stopped region: built, read back, compared, pointer moved
//	verify-s           of an equal region, from the log alone
//	verify-quick-s     the same, by the sums of the source that the one before has kept
//	repair-100-s       of 100 damaged tenants, after the compare
//	restart-s          ready, of a node that was stopped
//	snapshot-s         a copy of it to a file
//	from-snapshot-s    ready, of a new node that is given that file
func BenchmarkRecovery(b *testing.B) {
	n := tenants()
	if s := os.Getenv(EnvTenants); s != "" {
		n = must(strconv.Atoi(s))(b)
	}
	store := openStore(b)
	fillSpread(b, n, store.AppendAll)
	for b.Loop() {
		r := recovery{b: b, store: store, tenants: n, dir: readmodel.Dir(b.TempDir())}
		r.rebuild()
		r.verify()
		r.repair()
		r.ready("restart-s", r.dir, nil)
		r.snapshot()
	}
	b.ReportMetric(0, "ns/op")
}

type recovery struct {
	b       *testing.B
	store   *embedded.Store
	tenants int
	dir     readmodel.Dir
}

func (r recovery) took(what string, since time.Time) {
	r.b.ReportMetric(time.Since(since).Seconds(), what)
}

func (r recovery) open(dir readmodel.Dir) replay.Opener {
	return func(context.Context) (replay.Region, error) {
		return replay.OpenStopped(dir, "eu-west", r.store, silent)
	}
}

// with opens the stopped region.
func (r recovery) with(do func(replay.Region) error) {
	r.b.Helper()
	region := must(r.open(r.dir)(r.b.Context()))(r.b)
	if err := errors.Join(do(region), region.Close()); err != nil {
		r.b.Fatal(err)
	}
}

func (r recovery) rebuild() {
	began := time.Now()
	out := must(replay.Rebuild(r.b.Context(), replay.RebuildConfig{
		Dir: r.dir, Open: r.open(r.dir), Source: r.store, Partitions: partitions, MaxChange: 1, Logger: silent,
	}))(r.b)
	r.took("rebuild-s", began)
	if out.Tenants != uint64(r.tenants) {
		r.b.Fatalf("got %d tenants, want %d", out.Tenants, r.tenants)
	}
}

func (r recovery) verify() {
	for _, atHand := range []bool{false, true} {
		what := "verify-s"
		if atHand {
			what = "verify-quick-s"
		}
		r.with(func(region replay.Region) error {
			began := time.Now()
			report, err := replay.Verify(r.b.Context(), replay.VerifyConfig{Region: region, Source: r.store, Dir: string(r.dir), AtHand: atHand})
			r.took(what, began)
			if err == nil && !report.Equal() {
				err = fmt.Errorf("it differs: %+v", report)
			}
			return err
		})
	}
}

func (r recovery) repair() {
	name := must(r.dir.Current())(r.b)
	db := must(badger.Open(badger.DefaultOptions(r.dir.Path(name)).WithLogger(nil).WithCompression(compression.None).
		WithMemTableSize(5 << 20).WithValueThreshold(700 << 10)))(r.b)
	damaged := min(100, r.tenants)
	err := db.Update(func(txn *badger.Txn) error {
		for i := range damaged {
			if err := txn.Delete(fmt.Appendf(nil, "t/ten_bench-%d", i*(r.tenants/damaged))); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		r.b.Fatal(err)
	}
	r.with(func(region replay.Region) error {
		began := time.Now()
		report, err := replay.Repair(r.b.Context(), replay.VerifyConfig{Region: region, Source: r.store, Dir: string(r.dir)})
		if err != nil {
			return err
		}
		r.took("repair-100-s", began.Add(report.Took)) // without the compare
		if report.Repaired != damaged || len(report.Left) > 0 {
			return fmt.Errorf("mended %d of %d, and %d differ still", report.Repaired, damaged, len(report.Left))
		}
		return nil
	})
}

// ready is how long a node takes from its start, and from what has to be done before.
func (r recovery) ready(what string, dir readmodel.Dir, before func()) {
	head := must(r.store.Head(r.b.Context()))(r.b)
	cluster, closeTopic := openTopic(r.b)
	defer closeTopic()
	began := time.Now()
	if before != nil {
		before()
	}
	node := projections.New(projections.Config{Region: "eu-west", Dir: dir, Cluster: cluster, Topic: topic, Source: r.store, Logger: silent})
	following := start(r.b, node.Run)
	awaitPosition(r.b, node, head.Position)
	r.took(what, began)
	following.stop(r.b)
}

func (r recovery) snapshot() {
	path := filepath.Join(r.b.TempDir(), "copy")
	file := must(os.Create(path))(r.b)
	began := time.Now()
	r.with(func(region replay.Region) error {
		_, err := replay.Snapshot(r.b.Context(), region, file)
		return err
	})
	r.took("snapshot-s", began)
	must(file.Seek(0, 0))(r.b)
	dir := readmodel.Dir(r.b.TempDir())
	r.ready("from-snapshot-s", dir, func() {
		must(replay.Restore(r.b.Context(), replay.RestoreConfig{Dir: dir, Open: r.open(dir), Region: "eu-west", From: file, Logger: silent}))(r.b)
	})
	closeWith(r.b, file.Close)
}
