// Command run starts the servers that tests need once, for all that a command tests:
//
//	go run ./internal/testservers/run -- go test ./...
//
// It hands their addresses on in the environment, passes signals and the command's exit code on,
// and stops the servers. Without a command it prints the flags with which tenantry uses them, and
// waits to be interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/internal/testservers"
)

// server is one of the servers: what it is called, how it is handed on, and how it is started.
type server struct {
	name    string
	env     string // its address, for tests
	missing string // why there is none, for tests
	flag    string // its address, for tenantry
	start   func(context.Context) (address string, stop func() error, err error)
}

var servers = []server{
	{"PostgreSQL", testservers.PostgresEnv, testservers.PostgresMissingEnv, "--database-url", startPostgres},
	{"Apache Kafka", testservers.EnvKafka, testservers.EnvNoKafka, "--kafka-brokers", startKafka},
}

func startPostgres(ctx context.Context) (string, func() error, error) {
	s, err := testservers.StartPostgres(ctx, testservers.PostgresConfig{})
	if err != nil {
		return "", nil, err
	}
	return s.URL(), s.Stop, nil
}

func startKafka(ctx context.Context) (string, func() error, error) {
	s, err := testservers.StartSharedKafka(ctx)
	if err != nil {
		return "", nil, err
	}
	return s.Address, s.Stop, nil
}

func main() {
	flag.Parse()
	code, err := run(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// running is a server, or why it is not there.
type running struct {
	server
	address string
	given   bool // by the environment: not ours to stop
	stop    func() error
	err     error
}

func run(command []string) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	all, interrupted := startAll(ctx, cancel, signals)
	var code int
	var err error
	switch {
	case interrupted:
		code = 130
	case len(command) > 0:
		code, err = pass(command, all, signals)
	default:
		err = show(all, signals)
	}
	for _, r := range all {
		if r.stop != nil {
			if stopErr := r.stop(); stopErr != nil {
				err = errors.Join(err, fmt.Errorf("stop %s: %w", r.name, stopErr))
			}
		}
	}
	return code, err
}

// startAll starts the servers side by side, and says what became of each.
func startAll(ctx context.Context, cancel context.CancelFunc, signals <-chan os.Signal) (all []running, interrupted bool) {
	all = make([]running, len(servers))
	var group sync.WaitGroup
	for i, s := range servers {
		group.Go(func() {
			r := running{server: s, address: os.Getenv(s.env)}
			if r.given = r.address != ""; !r.given {
				began := time.Now()
				r.address, r.stop, r.err = s.start(ctx)
				switch {
				case r.err == nil:
					fmt.Fprintf(os.Stderr, "%s started in %.1f s: %s\n", s.name, time.Since(began).Seconds(), r.address)
				case ctx.Err() == nil:
					fmt.Fprintf(os.Stderr, "%s cannot be had, and tests that need it cannot run: %v\n", s.name, r.err)
				}
			}
			all[i] = r
		})
	}
	started := make(chan struct{})
	go func() { group.Wait(); close(started) }()
	select {
	case <-started:
	case <-signals:
		interrupted = true
		cancel()
		<-started
	}
	return all, interrupted
}

// pass runs the command with the servers in its environment, and returns its exit code.
func pass(command []string, all []running, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	for _, r := range all {
		if r.err != nil {
			cmd.Env = append(cmd.Env, r.missing+"="+strings.TrimSpace(r.err.Error()))
		} else {
			cmd.Env = append(cmd.Env, r.env+"="+r.address)
		}
	}
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return 1, err
			}
		case err := <-ended:
			exit, exited := errors.AsType[*exec.ExitError](err)
			if !exited {
				return 0, err
			}
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}

// show prints the flags, and waits for a signal.
func show(all []running, signals <-chan os.Signal) error {
	var flags, missing []string
	for _, r := range all {
		if r.err != nil {
			missing = append(missing, r.name)
		} else {
			flags = append(flags, r.flag+" '"+r.address+"'")
		}
	}
	fmt.Println(strings.Join(flags, " "))
	if len(missing) > 0 {
		return fmt.Errorf("%s cannot be had", strings.Join(missing, " and "))
	}
	fmt.Fprintln(os.Stderr, "their data goes when they stop: interrupt this (Ctrl-C) to stop them")
	<-signals
	return nil
}
