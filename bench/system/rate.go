package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"
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
// It runs on the cores of the server that it measures, and takes some of them, so what it sees is the
// worse of the two. For the same reason it is not a general client, which would take more than
// the server.
type steady struct {
	requests [][]byte
	rate     int
	duration time.Duration
}

// request is one as wrk would send it.
func request(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	endOfHeaders  = []byte("\r\n\r\n")
	contentLength = []byte("Content-Length: ")
)

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
	p99 := row{what: fmt.Sprintf("look-up p99 at %d/s, %d connections", cfg.rate, connections), unit: "ms", goal: goal{below: 2}}
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
