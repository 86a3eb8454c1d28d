package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	connections = 64
	warmUp      = time.Second // at the same rate, before what is counted
)

// steady sends requests at a fixed rate, whatever the answers do: an open loop. Each request has
// a time at which it is due, and its latency is counted from then, so that one that had to
// wait for a connection, since the answers before it were late, counts as late as it was
// (no "coordinated omission").
//
// It runs on the cores of the server that it measures, and takes about as much of them, so what
// it sees is the worse of the two. For the same reason it is not a general client, which would
// take more than the server.
type steady struct {
	requests [][]byte
	rate     int
	duration time.Duration
}

// request is one as wrk would send it.
func request(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

// run returns the latencies in milliseconds, sorted.
func (s steady) run(ctx context.Context, host string) ([]float64, error) {
	// What this process does besides would be taken for the server's delay.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	every := time.Second / time.Duration(s.rate)
	total := int64((s.duration + warmUp) / every)
	begin := time.Now().Add(100 * time.Millisecond) // when all are connected
	var next atomic.Int64
	took := make([][]float64, connections)
	group, ctx := errgroup.WithContext(ctx)
	for n := range connections {
		group.Go(func() error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			c := client{conn: conn, buffer: make([]byte, 16<<10)}
			timer := time.NewTimer(time.Hour)
			defer timer.Stop()
			took[n] = make([]float64, 0, 2*total/connections)
			for i := next.Add(1) - 1; i < total; i = next.Add(1) - 1 {
				due := begin.Add(time.Duration(i) * every)
				if early := time.Until(due); early > 0 {
					timer.Reset(early)
					<-timer.C
				}
				if err := c.ask(s.requests[rand.IntN(len(s.requests))]); err != nil {
					return errors.Join(ctx.Err(), err)
				}
				if latency := time.Since(due); due.Sub(begin) >= warmUp {
					took[n] = append(took[n], latency.Seconds()*1000)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all, nil
}

// client is one keep-alive connection.
type client struct {
	conn   net.Conn
	buffer []byte
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	endOfHeaders  = []byte("\r\n\r\n")
	contentLength = []byte("Content-Length: ")
)

// ask sends a request and reads its answer to the end.
func (c *client) ask(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	for have, want := 0, -1; want < 0 || have < want; {
		if have == len(c.buffer) {
			return fmt.Errorf("the answer is larger than %d octets", have)
		}
		n, err := c.conn.Read(c.buffer[have:])
		if err != nil {
			return err
		}
		have += n
		if want < 0 {
			if want, err = answerSize(c.buffer[:have]); err != nil {
				return err
			}
		}
		if want >= 0 && have > want {
			return errors.New("the answer is longer than it says")
		}
	}
	return nil
}

// answerSize is the size of an answer, headers included; -1 while they are not all there.
func answerSize(b []byte) (int, error) {
	end := bytes.Index(b, endOfHeaders)
	if end < 0 {
		return -1, nil
	}
	if !bytes.HasPrefix(b, statusOK) {
		return 0, fmt.Errorf("answered %q", b[:end])
	}
	at := bytes.Index(b[:end], contentLength)
	if at < 0 {
		return 0, fmt.Errorf("no Content-Length in %q", b[:end])
	}
	value, _, _ := bytes.Cut(b[at+len(contentLength):end+2], []byte("\r"))
	n, err := strconv.Atoi(string(value))
	return end + len(endOfHeaders) + n, err
}

// latency is how long look-ups take at a fixed rate, and nginx at the same.
func latency(ctx context.Context, cfg *config, c *catalogue) ([]row, error) {
	p99 := row{what: fmt.Sprintf("look-up p99 at %d/s, %d connections", cfg.rate, connections), unit: "ms", goal: "< 2 ms"}
	p50 := row{what: fmt.Sprintf("look-up p50 at %d/s", cfg.rate), unit: "ms"}
	err := beside(ctx, cfg, c, &p99, func(ctx context.Context, server *process, base string) (float64, error) {
		u, err := url.Parse(base)
		if err != nil {
			return 0, err
		}
		s := steady{rate: cfg.rate, duration: cfg.duration}
		for _, path := range c.paths {
			s.requests = append(s.requests, request(u.Host, path))
		}
		all, err := s.run(ctx, u.Host)
		if err != nil {
			return 0, err
		}
		if server == c.dev.process {
			p50.measured = append(p50.measured, quantile(all, 0.5))
		} else {
			p50.peer = append(p50.peer, quantile(all, 0.5))
		}
		return quantile(all, 0.99), nil
	})
	return []row{p50, p99}, err
}
