package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// silentFor is how long a broker that owed an answer is left alone, if there are others.
const silentFor = 3 * time.Second

var errSilent = errors.New("it did not answer a moment ago")

// silence knows which brokers owe an answer. A broker that hangs, or whose network is cut, takes
// connections all the same (its kernel does), so that kafka-go, which asks any one of the brokers
// about the cluster, would wait for it again and again.
type silence struct {
	open dialFunc
	each time.Duration // for one address: kafka-go's time is for all of them together

	mu    sync.Mutex
	since map[string]time.Time
}

// avoidSilent wraps dial for a cluster of several brokers.
func avoidSilent(config Config) dialFunc {
	if len(config.Brokers) == 1 {
		return config.Dial
	}
	s := &silence{open: config.Dial, each: config.DialTimeout / time.Duration(len(config.Brokers)), since: make(map[string]time.Time)}
	return s.dial
}

func (s *silence) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.avoids(address) {
		return nil, fmt.Errorf("connect to %s: %w", address, errSilent)
	}
	limited, cancel := context.WithTimeout(ctx, s.each)
	defer cancel()
	conn, err := s.open(limited, network, address)
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			s.note(address)
		}
		return nil, err
	}
	return &listening{Conn: conn, silence: s, address: address}, nil
}

func (s *silence) avoids(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, noted := s.since[address]
	return noted && time.Since(since) < silentFor
}

func (s *silence) note(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[address] = time.Now()
}

// listening is a connection that notes when an answer does not come in time.
type listening struct {
	net.Conn
	silence *silence
	address string
}

func (c *listening) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.silence.note(c.address)
	}
	return n, err
}
