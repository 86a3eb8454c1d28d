package kafka

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// testBroker is the address of a broker for tests: that of Apache Kafka if the environment
// names one, else of an embedded broker with its data in a directory of the test. Topics and
// groups have names of their own in each test, so that they can share a broker.
func testBroker(t testing.TB) string {
	t.Helper()
	if address := os.Getenv("TENANTRY_TEST_KAFKA"); address != "" {
		return address
	}
	return openBroker(t, t.TempDir()).Addr()
}

// named makes a name of a topic or a group the test's own.
func named(t testing.TB, name string) string {
	return fmt.Sprintf("%s-%x-%s", name, sha256.Sum256([]byte(t.Name())), rand.Text()[:8])
}

func openBroker(t testing.TB, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(context.Background(), broker.Config{DataDir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return b
}

// restartable is a broker that can be stopped and started, behind one address that lasts.
type restartable struct {
	t       testing.TB
	dir     string
	running *broker.Broker
	address atomic.Value // string
}

func newRestartable(t testing.TB) *restartable {
	t.Helper()
	r := &restartable{t: t, dir: t.TempDir()}
	r.start()
	return r
}

func (r *restartable) start() {
	r.t.Helper()
	r.running = openBroker(r.t, r.dir)
	r.address.Store(r.running.Addr())
}

func (r *restartable) stop() {
	r.t.Helper()
	if err := r.running.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *restartable) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, r.address.Load().(string))
}

// faultyBroker is a broker in memory whose faults the test sets.
func faultyBroker(t testing.TB, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	b, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func testCluster(t testing.TB, brokers ...string) *Cluster {
	t.Helper()
	return testClusterWith(t, Config{Brokers: brokers})
}

func testClusterWith(t testing.TB, config Config) *Cluster {
	t.Helper()
	config.Logger = quiet
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func makeTopic(t testing.TB, c *Cluster, topic Topic) string {
	t.Helper()
	if topic.Name == "" {
		topic.Name = named(t, "events")
	}
	topic.Partitions = max(topic.Partitions, 1)
	if err := c.EnsureTopic(testContext(t), topic); err != nil {
		t.Fatal(err)
	}
	return topic.Name
}

func makeProducer(t testing.TB, c *Cluster, topic string) *Producer {
	t.Helper()
	p, err := c.NewProducer(testContext(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func produce(t testing.TB, p *Producer, partition int, values ...string) int64 {
	t.Helper()
	offset, err := p.Produce(testContext(t), partition, numbered(values...))
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

func numbered(values ...string) []Record {
	records := make([]Record, len(values))
	for i, v := range values {
		records[i] = Record{Key: []byte("key-" + v), Value: []byte(v), Headers: []Header{{Key: "position", Value: []byte(v)}}}
	}
	return records
}

func numbers(from, to int) []string {
	values := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		values = append(values, strconv.Itoa(i))
	}
	return values
}

// stored reads all values of a partition.
func stored(t testing.TB, c *Cluster, topic string, partition int) []string {
	t.Helper()
	ctx := testContext(t)
	all, err := c.Offsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	values := []string{}
	for at := all[partition].First; at < all[partition].End; {
		records, _, err := c.Fetch(ctx, topic, partition, at, time.Second, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			values = append(values, string(r.Value))
			at = r.Offset + 1
		}
	}
	return values
}

func wantStored(t testing.TB, c *Cluster, topic string, partition int, want ...string) {
	t.Helper()
	if got := stored(t, c, topic, partition); !slices.Equal(got, want) {
		t.Fatalf("partition %d holds %q, want %q", partition, got, want)
	}
}

// answerThief is a dialer whose connections lose the answer to the next produce request, after
// the broker has given it.
type answerThief struct{ armed atomic.Int32 }

func (a *answerThief) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &stolenConn{Conn: conn, thief: a}, err
}

type stolenConn struct {
	net.Conn
	thief  *answerThief
	steals atomic.Bool
}

func (c *stolenConn) Write(b []byte) (int, error) {
	const produce = 0
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == produce && c.thief.armed.Add(-1) >= 0 {
		c.steals.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *stolenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.steals.Load() && err == nil {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Conn.Close())
	}
	return n, err
}

func TestNew_WithoutUsableBrokers_SaysSo(t *testing.T) {
	for _, brokers := range [][]string{nil, {"localhost"}, {"127.0.0.1:9092", "nonsense"}} {
		if _, err := New(Config{Brokers: brokers}); err == nil || !strings.Contains(err.Error(), "kafka broker") {
			t.Errorf("New with brokers %q answered %v, want an error about kafka brokers", brokers, err)
		}
	}
}

func TestCluster_Closed_RefusesAndEndsWhatIsUnderWay(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	waiting := make(chan error, 1)
	go func() {
		for {
			// Nobody writes, so that this waits for as long as the cluster is open.
			if _, _, err := c.Fetch(context.Background(), topic, 0, 0, time.Minute, 1<<20); err != nil {
				waiting <- err
				return
			}
		}
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waiting:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("the fetch under way ended with %v, want %v", err, ErrClosed)
		}
	case <-testContext(t).Done():
		t.Fatal("the fetch under way did not end when the cluster was closed")
	}
	if _, err := c.Offsets(testContext(t), topic); !errors.Is(err, ErrClosed) {
		t.Errorf("Offsets after Close answered %v, want %v", err, ErrClosed)
	}
	if err := c.Ping(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Ping after Close answered %v, want %v", err, ErrClosed)
	}
	if err := c.Close(); err != nil {
		t.Errorf("a second Close answered %v, want nil", err)
	}
}

func TestCluster_NoBrokerThere_PingFailsAndTheRestWaitsForTheContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := testCluster(t, address)
	if err := c.Ping(testContext(t)); err == nil {
		t.Error("Ping without a broker succeeded")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = c.Offsets(ctx, "events")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Offsets without a broker answered %v, want the context's end", err)
	}
}

func TestCluster_UnknownTopic_IsToldApart(t *testing.T) {
	c := testCluster(t, testBroker(t))
	if _, err := c.Offsets(testContext(t), "nowhere"); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("Offsets answered %v, want %v", err, ErrUnknownTopic)
	}
	if _, _, err := c.Last(testContext(t), "nowhere", 0); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("Last answered %v, want %v", err, ErrUnknownTopic)
	}
}

// likeEvents are records such as the relay writes: a key, about 150 bytes of JSON, and the
// headers of a CloudEvent.
func likeEvents(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Key:   fmt.Appendf(nil, "ten_%06d", i),
			Value: fmt.Appendf(nil, `{"name":"Tenant %d","hostnames":["t%d.example"],"home_region":"eu-west","group":"grp_default","products":{"jira":{"plan":"standard","seats":25}}}`, i, i),
			Headers: []Header{
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: []byte("0199e0e4-0000-7000-8000-0123456789ab")},
				{Key: "ce_source", Value: []byte("tenantry")},
				{Key: "ce_type", Value: []byte("tenantry.tenant.registered.v1")},
				{Key: "ce_subject", Value: fmt.Appendf(nil, "ten_%06d", i)},
				{Key: "ce_time", Value: []byte("2026-11-21T02:14:00.123456Z")},
				{Key: "content-type", Value: []byte("application/json")},
				{Key: "ce_version", Value: []byte("1")},
				{Key: "ce_position", Value: fmt.Appendf(nil, "%d", i+1)},
				{Key: "ce_previous", Value: fmt.Appendf(nil, "%d", i)},
				{Key: "ce_storeid", Value: []byte("0199e0e4-0000-7000-8000-0123456789ab")},
			},
		}
	}
	return records
}

func TestCluster_ConnectionsReplacedUnderLoad_LeavesNothingBehind(t *testing.T) {
	address := testBroker(t)
	before := goleak.IgnoreCurrent()
	c := testCluster(t, address)
	topic := makeTopic(t, c, Topic{Partitions: 4})
	p := makeProducer(t, c, topic)
	var load sync.WaitGroup
	for partition := range 4 {
		load.Go(func() {
			for i := range 100 {
				produce(t, p, partition, strconv.Itoa(i))
			}
		})
		load.Go(func() {
			for at := int64(0); at < 100; {
				records, _, err := c.Fetch(testContext(t), topic, partition, at, 10*time.Millisecond, 1<<20)
				if err != nil {
					t.Error(err)
					return
				}
				at += int64(len(records))
			}
		})
	}
	done := make(chan struct{})
	go func() { load.Wait(); close(done) }()
	for replacing := true; replacing; {
		c.refresh()
		select {
		case <-done:
			replacing = false
		default:
		}
	}
	for partition := range 4 {
		wantStored(t, c, topic, partition, numbers(0, 100)...)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// The broker closes its ends of the connections when it has seen ours closed.
	goleak.VerifyNone(t, before)
}
