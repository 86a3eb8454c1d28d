package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/replay"
)

func newRegionSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write a copy of a region's read model to a file",
		Long: `Writes a whole copy of a region's live read model, as it is at one moment, while its node
serves or while none runs. The file has a checksum, and the position up to which it is
complete; 'tenantry region restore' makes a region of it. It is not compressed: pipe it
through what you like. A copy of a damaged read model is refused.`,
		Example: `  tenantry region snapshot --region eu-west --data-dir /var/lib/tenantry --to eu-west.copy
  tenantry region snapshot --region eu-west --data-dir /var/lib/tenantry --to - | zstd | ssh node2 'zstd -d | tenantry region restore --region eu-west --data-dir /var/lib/tenantry --from -'`,
		Args: takesNone,
	}
	addCopyFlags(cmd)
	cmd.Flags().String("to", "", "the file to write; - is standard output")
	cmd.Flags().Bool("force", false, "put it in the place of a file that is there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needs(cmd, "region", "to"); err != nil {
			return err
		}
		return onRegion(cmd, false, func(ctx context.Context, r *daemon.Replay) (*replay.Copied, error) {
			return snapshotTo(ctx, cmd, r, flagValue(cmd, "to"))
		}, func(c *replay.Copied) string {
			return fmt.Sprintf("%s: copied at position %d in %.1f s: %s records, %s\n", c.Region, c.Position, c.Took.Seconds(), thousands(c.Records), octets(c.Octets))
		})
	}
	return cmd
}

func newRegionRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Make a region's read model of a copy",
		Long: `Makes a region's read model of a copy that 'tenantry region snapshot' wrote. A node that
runs adopts it without a look-up that fails, once it has caught up; else the next one to
start answers from it. What is not newer than the copy comes from Kafka and the source, as
for any node that was away for a while. A data directory that is not there is made.

Refused are a copy that is cut short or altered, one of another region, one of another
store, and a region that has a copy already; --force allows the last three. What was
there before is kept, and 'tenantry replay --rollback' goes back to it.`,
		Example: `  tenantry region restore --region eu-west --data-dir /var/lib/tenantry --from eu-west.copy`,
		Args:    takesNone,
	}
	addCopyFlags(cmd)
	cmd.Flags().String("from", "", "the file to read; - is standard input")
	cmd.Flags().Bool("force", false, "also where the region has a copy, or the file is of another region or store")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needs(cmd, "region", "from"); err != nil {
			return err
		}
		return onRegion(cmd, true, func(ctx context.Context, r *daemon.Replay) (*replay.Copied, error) {
			return restoreFrom(ctx, cmd, r, flagValue(cmd, "from"))
		}, func(c *replay.Copied) string {
			text := fmt.Sprintf("%s: restored as %s at position %d in %.1f s: %s records\n", c.Region, c.Generation, c.Position, c.Took.Seconds(), thousands(c.Records))
			if c.PID != 0 {
				return text + fmt.Sprintf("the node (pid %d) answers from it; no look-up failed for it\n", c.PID)
			}
			return text + "no node runs; the next one to start on this directory answers from it\n"
		})
	}
	return cmd
}

func addCopyFlags(cmd *cobra.Command) {
	cmd.Flags().Var(newRegion(), "region", "the region's name")
	cmd.Flags().Var(newDirectory(), "data-dir", "data directory of the region's node, or of a dev")
	addOutput(cmd)
}

// onRegion does something with a region's copy, and prints what came of it: beside the copy, where that
// goes to standard output.
func onRegion(cmd *cobra.Command, isNew bool, do func(context.Context, *daemon.Replay) (*replay.Copied, error), text func(*replay.Copied) string) error {
	log, err := quietLogger(cmd)
	if err != nil {
		return err
	}
	r, err := daemon.OpenReplay(cmd.Context(), daemon.ReplayConfig{
		Region: flagValue(cmd, "region"), DataDir: flagValue(cmd, "data-dir"), New: isNew, MakeDir: isNew, NoSource: true, Logger: log,
	})
	if err != nil {
		return stoppedHere(cmd, ifNotAllowed(err))
	}
	c, err := do(cmd.Context(), r)
	if err := errors.Join(err, r.Close()); err != nil {
		return stoppedHere(cmd, ifNotAllowed(err))
	}
	if to := cmd.Flag("to"); to != nil && to.Value.String() == "-" {
		cmd.SetOut(cmd.ErrOrStderr())
	}
	if asJSON(cmd) {
		return printJSON(cmd, struct {
			*replay.Copied
			TookMS int64 `json:"took_ms"`
		}{c, c.Took.Milliseconds()})
	}
	return printf(cmd, "%s", text(c))
}

// snapshotTo writes a copy to a file, which has its name only when it is whole and on the disk.
func snapshotTo(ctx context.Context, cmd *cobra.Command, r *daemon.Replay, path string) (_ *replay.Copied, err error) {
	moved := newMoved(cmd, "copy", -1)
	defer moved.end()
	if path == "-" {
		if f, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, usage("a copy is nothing for a terminal: pipe it somewhere, or give --to a file")
		}
		return r.Snapshot(ctx, io.MultiWriter(cmd.OutOrStdout(), moved))
	}
	if _, err := os.Lstat(path); err == nil && flagValue(cmd, "force") != "true" {
		return nil, fmt.Errorf("%s is there already: choose another name, or give --force", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.partial")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	c, err := r.Snapshot(ctx, io.MultiWriter(f, moved))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return c, os.Rename(f.Name(), path)
}

// restoreFrom makes a region of a file.
func restoreFrom(ctx context.Context, cmd *cobra.Command, r *daemon.Replay, path string) (*replay.Copied, error) {
	in, size := cmd.InOrStdin(), int64(-1)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			return nil, fmt.Errorf("%s is a directory: name a file that 'tenantry region snapshot' has written", path)
		}
		in = f
		if info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	moved := newMoved(cmd, "restore", size)
	defer moved.end()
	c, err := r.Restore(ctx, replay.RestoreConfig{From: io.TeeReader(in, moved), Octets: uint64(max(size, 0)), Force: flagValue(cmd, "force") == "true"})
	if err != nil && path != "-" {
		err = fmt.Errorf("restore %s: %w", path, err)
	}
	return c, err
}

// octets is a size in words: in whole numbers of what leaves at least two digits.
func octets(n uint64) string {
	switch {
	case n < 10<<10:
		return counting(n, "octet")
	case n < 10<<20:
		return thousands(n>>10) + " KiB"
	}
	return thousands(n>>20) + " MiB"
}

// moved shows how many octets were copied: a bar with rate and time left on a terminal, else a plain
// line now and then.
type moved struct {
	out  io.Writer
	what string
	all  int64 // -1: nobody knows
	bar  *progressbar.ProgressBar

	mu          sync.Mutex
	done        int64
	began, told time.Time
}

func newMoved(cmd *cobra.Command, what string, all int64) *moved {
	m := &moved{out: cmd.ErrOrStderr(), what: what, all: all, began: time.Now(), told: time.Now()}
	if f, ok := m.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.bar = progressbar.NewOptions64(all,
			progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true))
	}
	return m
}

// Write counts; it never fails.
func (m *moved) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(len(b))
	if m.bar != nil {
		_ = m.bar.Set64(m.done) // a bar that cannot be drawn must not stop the work
		return len(b), nil
	}
	if time.Since(m.told) < plainEvery {
		return len(b), nil
	}
	m.told = time.Now()
	took := time.Since(m.began)
	text := fmt.Sprintf("%s: %d MiB, %.0f MiB a second", m.what, m.done>>20, float64(m.done)/(1<<20)/took.Seconds())
	if m.all > 0 {
		left := time.Duration(float64(took) * float64(m.all-m.done) / float64(m.done))
		text += fmt.Sprintf(", %d%%, about %s left", m.done*100/m.all, left.Round(time.Second))
	}
	fmt.Fprintln(m.out, text)
	return len(b), nil
}

func (m *moved) end() {
	if m.bar != nil {
		_ = m.bar.Finish()
	}
}
