//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkWait measures the two promises of time: how long after an append is answered its
// waiter is awake, and what a hundred waiters cost while nothing happens.
func BenchmarkWait(b *testing.B) {
	b.Run("woken", func(b *testing.B) {
		s := openBench(b)
		awake := make(chan time.Time)
		go func() {
			defer close(awake)
			for position := range uint64(b.N) {
				if err := s.Wait(context.Background(), 5*position); err != nil {
					b.Error(err)
					return
				}
				awake <- time.Now()
			}
		}()
		var late time.Duration
		for i := range b.N {
			if _, err := s.Append(b.Context(), registration(b, uint64(i))); err != nil {
				b.Fatal(err)
			}
			answered := time.Now()
			late = max(late, (<-awake).Sub(answered))
		}
		b.ReportMetric(float64(late.Microseconds()), "max-µs-late")
	})
	b.Run("idle", func(b *testing.B) {
		s := openBench(b)
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := s.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
					b.Error(err)
				}
			})
		}
		const idle = time.Second
		before := cpu(b)
		<-time.After(idle)
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/idle.Seconds(), "cpu-µs/s")
		cancel()
		wg.Wait()
	})
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
