package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Errors that callers branch on.
var (
	// ErrClosed: the Cluster, Publisher or Subscriber was closed. Not to be retried.
	ErrClosed = errors.New("kafka client is closed")

	// ErrUnknownTopic: the cluster answered, and does not have that topic. Retry once
	// EnsureTopic has made it.
	ErrUnknownTopic = errors.New("topic does not exist")

	// ErrUnknownPartition: the topic was deleted, and made again with fewer partitions.
	ErrUnknownPartition = errors.New("partition does not exist")

	// ErrOffsetOutOfRange: the log does not hold that offset, because retention has removed
	// it, or because the topic is another one than before. Retrying does not help: whoever
	// asked has to get the records from elsewhere (the store) or start at another offset.
	ErrOffsetOutOfRange = errors.New("offset is not in the log")
)

const (
	defaultDialTimeout = 3 * time.Second

	// requestTimeout is after how long a request without an answer counts as lost, so that a
	// broker which vanished without closing its connections is noticed. Long polls are much
	// shorter. Kafka is told half of it as the time that acks=all may take.
	requestTimeout = 5 * time.Second

	// renewEvery bounds how often failing requests may throw the connections and the
	// metadata away.
	renewEvery = 100 * time.Millisecond
)

// Config says how to reach a Kafka cluster.
type Config struct {
	Brokers  []string // host:port of one or more brokers; the others are found from them
	ClientID string   // shown in the brokers' logs and metrics; "tenantry" when empty

	// TLS and SASL are used on every connection when set.
	TLS  TLS
	SASL SASL

	// Dial opens the connections below TLS; net.Dialer when nil.
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
	DialTimeout time.Duration // to connect and authenticate; 3 s when zero

	Logger *slog.Logger // slog.Default() when nil
}

// Cluster is a Kafka cluster as one process sees it. Safe for concurrent use.
type Cluster struct {
	config Config
	addr   net.Addr
	log    *slog.Logger
	dial   dialFunc // with TLS, where that is set
	conns  *connections

	requests sync.WaitGroup

	mu      sync.Mutex
	current *session
	closed  bool
	warned  time.Time // of the outage that lasts; zero when there is none
}

// session is one transport with its connections and its picture of the cluster. kafka-go
// does not refresh that picture when a leader has moved, so that after an error the whole
// session is replaced (see renew). It is closed when its last request has ended: a transport
// that is used after it was closed opens connections that nobody closes.
type session struct {
	cluster   *Cluster
	client    *kafka.Client
	transport *kafka.Transport
	born      time.Time

	users   int // requests under way; with retired guarded by the cluster's mutex
	retired bool
}

// New makes a Cluster. It does no I/O: brokers that are down are found out about, and
// waited for, by the first request.
func New(config Config) (*Cluster, error) {
	if len(config.Brokers) == 0 {
		return nil, errors.New("no kafka brokers are named (--kafka-brokers host:port,…)")
	}
	for _, b := range config.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("kafka broker %q is not host:port: %w", b, err)
		}
	}
	if config.ClientID == "" {
		config.ClientID = "tenantry"
	}
	if config.DialTimeout <= 0 {
		config.DialTimeout = defaultDialTimeout
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{}).DialContext
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	log := config.Logger.With("component", "kafka")
	if err := config.SASL.validate(); err != nil {
		return nil, err
	}
	files, err := newTLSFiles(config.TLS, log)
	if err != nil {
		return nil, err
	}
	if config.SASL.Mechanism == SASLPlain && files == nil {
		log.Warn("the password for kafka goes over the network as it is: use TLS (--kafka-tls), or SCRAM-SHA-512")
	}
	c := &Cluster{
		config: config,
		addr:   kafka.TCP(config.Brokers...),
		log:    log,
		dial:   secured(avoidSilent(config), files),
	}
	c.conns = newConnections(c.dial)
	c.current = c.newSession()
	return c, nil
}

func (c *Cluster) newSession() *session {
	t := &kafka.Transport{
		Dial:        c.conns.dial,
		DialTimeout: c.config.DialTimeout,
		ClientID:    c.config.ClientID,
		SASL:        c.config.SASL.login(),
		// A new leader is learnt from the error that the old one answers, not by polling.
		MetadataTTL: time.Minute,
	}
	return &session{
		cluster:   c,
		transport: t,
		client:    &kafka.Client{Addr: c.addr, Transport: t, Timeout: requestTimeout},
		born:      time.Now(),
	}
}

// acquire returns the session to use for one request, or ErrClosed. It has to be released.
func (c *Cluster) acquire() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	c.current.users++
	c.requests.Add(1)
	return c.current, nil
}

func (s *session) release() {
	s.cluster.mu.Lock()
	s.users--
	done := s.retired && s.users == 0
	s.cluster.mu.Unlock()
	if done {
		s.transport.CloseIdleConnections()
	}
	s.cluster.requests.Done()
}

// renew replaces the session in which a request failed, unless another request has already
// done so or it is too young to be stale. Requests under way in it are left to finish.
func (c *Cluster) renew(failed *session) {
	c.mu.Lock()
	stale := c.current == failed && time.Since(failed.born) >= renewEvery
	c.mu.Unlock()
	if stale {
		c.replace(failed)
	}
}

// refresh makes the next request look at the cluster anew.
func (c *Cluster) refresh() {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	c.replace(current)
}

// replace makes a new session the current one, if old still is that.
func (c *Cluster) replace(old *session) {
	c.mu.Lock()
	if c.closed || c.current != old {
		c.mu.Unlock()
		return
	}
	c.current = c.newSession()
	old.retired = true
	done := old.users == 0
	c.mu.Unlock()
	if done {
		old.transport.CloseIdleConnections()
	}
}

// Close ends what is under way, closes all connections and refuses what comes later.
// Subscribers and producers of this Cluster have to be closed first if they are to finish
// in order. It may be called again.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	last := c.current
	last.retired = true
	done := last.users == 0
	c.mu.Unlock()
	if done {
		last.transport.CloseIdleConnections()
	}
	c.conns.close()
	c.requests.Wait()
	return nil
}

// Ping succeeds when a broker answers. It tries once.
func (c *Cluster) Ping(ctx context.Context) error {
	s, err := c.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	if _, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}}); err != nil {
		c.renew(s)
		return fmt.Errorf("ask kafka at %s: %w", c.names(), c.explain(err))
	}
	return nil
}
