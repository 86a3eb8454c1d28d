//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

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
