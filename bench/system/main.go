// Program system measures the built tenantry as a process: look-ups beside nginx, latency at a
// fixed rate, from a command's answer to its being visible, look-ups while their region is rebuilt,
// import, restart and memory. It
// prints one table, for docs/benchmarks.md, which says what is compared with what, and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	binary     string
	university string // file of the real roster
	tenants    int
	rounds     int
	duration   time.Duration // of a round under load
	rate       int           // look-ups a second where latency is measured
	commands   int           // a second, where visibility is
	only       []string
	lines      int           // imported where memory is measured
	patience   time.Duration // with others at work on the machine, before all rounds together

	dir string    // for everything that is written
	log io.Writer // progress, for a person
}

// A section measures something on a running system.
type section struct {
	name string
	run  func(context.Context, *config, *catalogue) ([]row, error)
}

// sections are those on the large catalogue, in their order.
var sections = []section{
	{"idle", idle},
	{"lookup", throughput},
	{"latency", latency},
	{"visible", visible},
	{"rebuild", rebuild},
}

// The sections with systems of their own.
const (
	importing   = "import"
	remembering = "memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/system:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	cfg := config{log: os.Stderr}
	flag.StringVar(&cfg.binary, "binary", "bin/tenantry", "the program to measure")
	flag.StringVar(&cfg.university, "roster", "../shared/data/universities.ndjson", "the real roster to import")
	flag.IntVar(&cfg.tenants, "tenants", 100_000, "size of the generated catalogue")
	flag.IntVar(&cfg.rounds, "rounds", 3, "how often each is measured")
	flag.DurationVar(&cfg.duration, "duration", 10*time.Second, "length of a round under load")
	flag.IntVar(&cfg.rate, "rate", 30_000, "look-ups a second, where latency is measured")
	flag.IntVar(&cfg.commands, "commands", 200, "commands a second, where it is measured when they are visible")
	flag.IntVar(&cfg.lines, "lines", 200_000, "tenants to import, where memory is measured")
	flag.DurationVar(&cfg.patience, "patience", time.Minute, "how long all rounds together wait for the machine to be quiet")
	only := flag.String("only", "", "of idle, lookup, latency, visible, rebuild, import, memory: those, separated by commas; all, if empty")
	flag.Parse()
	if cfg.tenants < 1 || cfg.rounds < 1 || cfg.rate < 1 || cfg.commands < 1 || cfg.lines < 1 || cfg.duration < time.Second {
		return fmt.Errorf("-tenants, -lines, -rounds, -rate and -commands must be 1 or more, and -duration a second or more")
	}
	if *only != "" {
		cfg.only = strings.Split(*only, ",")
	}
	if cfg.dir, err = os.MkdirTemp("", "tenantry-bench-"); err != nil {
		return err
	}
	defer func() {
		if rmErr := os.RemoveAll(cfg.dir); err == nil {
			err = rmErr
		}
	}()
	head := describeMachine(ctx)
	rows, err := cfg.measure(ctx)
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	if len(rows) == 0 {
		return err
	}
	// What was measured before an end that came too early holds.
	return errors.Join(err, printTable(os.Stdout, head+", "+loadAverage()+" at its end", rows))
}

func (cfg *config) wants(name string) bool {
	return len(cfg.only) == 0 || slices.Contains(cfg.only, name)
}

// measure runs all sections. One that fails ends them: its numbers would be in doubt, and
// so would those after it. Those of the sections before it are returned with the error.
func (cfg *config) measure(ctx context.Context) (rows []row, err error) {
	if slices.ContainsFunc(sections, func(s section) bool { return cfg.wants(s.name) }) {
		if rows, err = cfg.onCatalogue(ctx); err != nil {
			return rows, err
		}
	}
	if cfg.wants(importing) {
		of, err := imports(ctx, cfg)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", importing, err)
		}
		rows = append(rows, of...)
	}
	if cfg.wants(remembering) {
		of, err := memory(ctx, cfg)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", remembering, err)
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

// onCatalogue runs the sections on one large catalogue, which is gone before others are started.
func (cfg *config) onCatalogue(ctx context.Context) ([]row, error) {
	c, rows, err := openCatalogue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.dev.stop()
	for _, s := range sections {
		if !cfg.wants(s.name) {
			continue
		}
		of, err := s.run(ctx, cfg, c)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, of...)
	}
	return rows, nil
}

// say tells the person who waits what goes on.
func (cfg *config) say(format string, args ...any) {
	fmt.Fprintf(cfg.log, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
