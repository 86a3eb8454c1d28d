package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// readyTime is how long a cluster may take from its start until all its brokers are there.
const readyTime = 90 * time.Second

// Listener is one of the ways in which Kafka takes connections.
type Listener string

// The listeners of every node, but that those which need a certificate are there only with
// KafkaOptions.Certificates.
const (
	Plaintext     Listener = "PLAINTEXT"
	Other         Listener = "OTHER" // as Plaintext; only with KafkaOptions.AdvertiseOther
	TLS           Listener = "SSL"   // asks for a client's certificate, and does without
	SASLPlaintext Listener = "SASL_PLAINTEXT"
	SASLTLS       Listener = "SASL_SSL"
)

// KafkaOptions is optional in all its fields.
type KafkaOptions struct {
	Nodes int // brokers, each a controller too; 1 when zero

	// Users may log in on the SASL listeners, by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512: name and
	// password. Without users there are no such listeners.
	Users map[string]string

	// Certificates is the authority that the nodes' certificates, for 127.0.0.1, are of, and which
	// clients' certificates have to be of. Without it there is no TLS.
	Certificates *Authority

	// Advertise gives the address that clients are told for a node's Plaintext listener, given
	// the one that it listens on, for a test that puts a proxy between. Brokers talk to each other
	// without it.
	Advertise func(node int, bound string) (string, error)

	// AdvertiseOther is the same for the listener Other, for a test in which some clients have another
	// way to the brokers than the rest.
	AdvertiseOther func(node int, bound string) (string, error)

	// AdvertiseSecure is the same for the listener SASLTLS.
	AdvertiseSecure func(node int, bound string) (string, error)

	// Authorize makes the nodes let the Users do what they were given rights for, and nothing else. Whoever
	// comes by Plaintext may do everything, giving rights included.
	Authorize bool

	Settings map[string]string // of server.properties, besides
}

// KafkaCluster is a cluster of a test's own.
type KafkaCluster struct {
	Nodes []*KafkaNode

	tools   Tools
	options KafkaOptions
}

// NewKafka starts a cluster that lives as long as the test. Where Kafka cannot be had it skips the
// test, or fails it with REQUIRE_SERVICES=1.
func NewKafka(tb testing.TB, options KafkaOptions) *KafkaCluster {
	tb.Helper()
	tools := KafkaTools(tb)
	c, err := startKafka(tb.Context(), tools, tb.TempDir(), options, direct)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for _, n := range c.Nodes {
				tb.Logf("the end of the log of Kafka's node %d:\n%s", n.ID, n.logEnd())
			}
		}
		if err := c.Close(); err != nil {
			tb.Errorf("stop Kafka: %v", err)
		}
	})
	return c
}

// StartKafka starts a cluster with its data below dir, and returns when all its brokers are there.
// It ends with this process at the latest.
func StartKafka(ctx context.Context, dir string, options KafkaOptions) (*KafkaCluster, error) {
	tools, err := findTools(ctx)
	if err != nil {
		return nil, err
	}
	return startKafka(ctx, tools, dir, options, direct)
}

// launcher starts a node's process.
type launcher func(n *KafkaNode, argv ...string) error

func direct(n *KafkaNode, argv ...string) (err error) {
	n.process, err = start(n.logFile(), argv...)
	return err
}

func startKafka(ctx context.Context, tools Tools, dir string, options KafkaOptions, launch launcher) (*KafkaCluster, error) {
	c, err := layOut(ctx, tools, dir, options)
	if err != nil {
		return nil, err
	}
	err = c.format(ctx)
	for _, n := range c.Nodes {
		if err == nil {
			err = launch(n, n.argv()...)
		}
	}
	if err == nil {
		err = c.Ready(ctx)
	}
	if err != nil {
		err = fmt.Errorf("start Kafka: %w\n%s", err, c.Nodes[0].logEnd())
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// layOut gives each node its directory, its ports and its settings.
func layOut(ctx context.Context, tools Tools, dir string, options KafkaOptions) (*KafkaCluster, error) {
	listeners := []Listener{controller, internal, Plaintext}
	if options.AdvertiseOther != nil {
		listeners = append(listeners, Other)
	}
	if options.Certificates != nil {
		listeners = append(listeners, TLS)
	}
	if len(options.Users) > 0 {
		listeners = append(listeners, SASLPlaintext)
		if options.Certificates != nil {
			listeners = append(listeners, SASLTLS)
		}
	}
	n := max(1, options.Nodes)
	addresses, err := freeAddresses(ctx, n*len(listeners))
	if err != nil {
		return nil, err
	}
	c := &KafkaCluster{tools: tools, options: options}
	for i := range n {
		node := &KafkaNode{ID: i + 1, cluster: c, dir: filepath.Join(dir, fmt.Sprintf("node-%d", i+1)), bound: map[Listener]string{}, advertised: map[Listener]string{}}
		for j, l := range listeners {
			node.bound[l] = addresses[i*len(listeners)+j]
			node.advertised[l] = node.bound[l]
		}
		for l, advertise := range map[Listener]func(int, string) (string, error){Plaintext: options.Advertise, Other: options.AdvertiseOther, SASLTLS: options.AdvertiseSecure} {
			if advertise == nil {
				continue
			}
			if node.advertised[l], err = advertise(i, node.bound[l]); err != nil {
				return nil, fmt.Errorf("an address to advertise for node %d: %w", node.ID, err)
			}
		}
		c.Nodes = append(c.Nodes, node)
	}
	for _, node := range c.Nodes {
		if err := os.MkdirAll(node.dir, 0o750); err != nil {
			return nil, err
		}
		settings, err := node.settings(listeners, options)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(node.configFile(), []byte(settings), 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// format makes the log directories, with the users' credentials in their first records.
func (c *KafkaCluster) format(ctx context.Context) error {
	args := []string{"format", "-t", "dGVuYW50cnktdGVzdHMxMg"}
	for user, password := range c.options.Users {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, password))
		}
	}
	var group errgroup.Group
	for _, n := range c.Nodes {
		group.Go(func() error {
			cmd := c.tools.Command(ctx, "kafka.tools.StorageTool", append(slices.Clone(args), "-c", n.configFile())...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("format the log directory of node %d: %w\n%s", n.ID, err, lastLines(out, 10))
			}
			return nil
		})
	}
	return group.Wait()
}

// Wipe kills all nodes, and starts them with empty disks: topics, records and all else is gone. It
// returns when all brokers are there.
func (c *KafkaCluster) Wipe(ctx context.Context) error {
	for _, n := range c.Nodes {
		if err := errors.Join(n.Kill(), os.RemoveAll(n.LogDir())); err != nil {
			return err
		}
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return c.Ready(ctx)
}

// Brokers are the addresses at which clients reach the nodes on a listener.
func (c *KafkaCluster) Brokers(l Listener) []string {
	var all []string
	for _, n := range c.Nodes {
		if address, has := n.advertised[l]; has {
			all = append(all, address)
		}
	}
	return all
}

// Ready returns when a broker knows of all nodes of the cluster that were not stopped or killed.
func (c *KafkaCluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	want := 0
	for _, n := range c.Nodes {
		if !n.stopped {
			want++
		}
	}
	for _, n := range c.Nodes {
		if n.stopped {
			continue
		}
		if err := n.awaitBrokers(ctx, want); err != nil {
			return fmt.Errorf("wait for node %d to know of %d brokers: %w", n.ID, want, err)
		}
	}
	return nil
}

// awaitBrokers asks the node until it knows of so many brokers.
func (n *KafkaNode) awaitBrokers(ctx context.Context, want int) error {
	transport := &kafka.Transport{DialTimeout: 2 * time.Second}
	defer transport.CloseIdleConnections()
	// Not the advertised address, where a proxy may stand that is cut. kafka-go asks the address
	// that it is given, and no other, about the cluster.
	client := &kafka.Client{Addr: kafka.TCP(n.bound[Plaintext]), Transport: transport, Timeout: 2 * time.Second}
	for {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
		if err == nil && len(answer.Brokers) == want {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it knows of %d", len(answer.Brokers))
		}
		transport.CloseIdleConnections() // which also makes kafka-go forget what it knew
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-n.ended():
			return errors.New("it has ended")
		}
	}
}

// Close kills all nodes.
func (c *KafkaCluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.Kill())
	}
	return errors.Join(errs...)
}

// properties writes Java's format; no value of ours needs its escapes.
func properties(settings map[string]string) string {
	var b strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	return b.String()
}
