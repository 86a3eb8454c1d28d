package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// run returns the latencies in milliseconds, sorted.
//
// One thread does it all, by ppoll: Go's own timers and poller wake up only every millisecond or
// so, which would be half of what is to be measured, and goroutines cost processor time that the server lacks.
func (s steady) run(ctx context.Context, host string) ([]float64, error) {
	// What this process does besides would be taken for the server's delay.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	result := make(chan []float64, 1)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, whose timers are exact now, ends with this
		took, err := s.poll(ctx, host)
		failed <- err
		result <- took
	}()
	return <-result, <-failed
}

// exchange is a connection and the request that is under way on it.
type exchange struct {
	due    time.Time
	have   int // octets of the answer
	buffer []byte
}

func (s steady) poll(ctx context.Context, host string) (took []float64, err error) {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("ask for exact timers: %w", err)
	}
	// Where we may: a request that is sent late for want of a processor is not the server's fault.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15) // of this thread
	fds, err := connect(host)
	defer func() {
		for _, fd := range fds {
			err = errors.Join(err, unix.Close(int(fd.Fd)))
		}
	}()
	if err != nil {
		return nil, err
	}
	exchanges := make([]exchange, connections)
	free := make([]int, 0, connections)
	for n := range exchanges {
		exchanges[n].buffer = make([]byte, 16<<10)
		free = append(free, n)
	}
	every := time.Second / time.Duration(s.rate)
	total := int((s.duration + warmUp) / every)
	took = make([]float64, 0, total)
	begin := time.Now()
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * every) }
	for next, open := 0, 0; next < total || open > 0; {
		for next < total && len(free) > 0 && time.Until(due(next)) <= 0 {
			n := free[len(free)-1]
			free = free[:len(free)-1]
			exchanges[n].due, exchanges[n].have = due(next), 0
			if err := send(int(fds[n].Fd), s.requests[rand.IntN(len(s.requests))]); err != nil {
				return nil, err
			}
			fds[n].Events = unix.POLLIN
			open++
			next++
		}
		wait := 100 * time.Millisecond // so that a context that has ended is seen
		if next < total && len(free) > 0 {
			wait = max(0, time.Until(due(next)))
		}
		timeout := unix.NsecToTimespec(wait.Nanoseconds())
		ready, err := unix.Ppoll(fds, &timeout, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("poll: %w", err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for n := 0; n < len(fds) && ready > 0; n++ {
			if fds[n].Revents == 0 {
				continue
			}
			ready--
			x := &exchanges[n]
			done, err := x.receive(int(fds[n].Fd))
			if err != nil {
				return nil, err
			}
			if !done {
				continue
			}
			if latency := time.Since(x.due); x.due.Sub(begin) >= warmUp {
				took = append(took, latency.Seconds()*1000)
			}
			fds[n].Events = 0
			free = append(free, n)
			open--
		}
	}
	slices.Sort(took)
	return took, nil
}

// connect returns those connections that it made, whatever became of the rest.
func connect(host string) (fds []unix.PollFd, err error) {
	address, err := netip.ParseAddrPort(host)
	if err != nil {
		return nil, err
	}
	for range connections {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fds, fmt.Errorf("make a socket: %w", err)
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd)})
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
			return fds, fmt.Errorf("connect to %s: %w", host, err)
		}
		err = errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		if err != nil {
			return fds, fmt.Errorf("set up a connection: %w", err)
		}
	}
	return fds, nil
}

// send writes a request, which always fits into an idle connection.
func send(fd int, request []byte) error {
	n, err := unix.Write(fd, request)
	if err == nil && n < len(request) {
		err = fmt.Errorf("%d of %d octets", n, len(request))
	}
	if err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	return nil
}

// receive reads what is there, and tells whether the answer is complete.
func (x *exchange) receive(fd int) (bool, error) {
	if x.have == len(x.buffer) {
		return false, fmt.Errorf("the answer is larger than %d octets", x.have)
	}
	n, err := unix.Read(fd, x.buffer[x.have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return false, errors.New("the server closed a connection")
	}
	x.have += n
	want, err := answerSize(x.buffer[:x.have])
	if err != nil || want < 0 {
		return false, err
	}
	if x.have > want {
		return false, errors.New("the answer is longer than it says")
	}
	return x.have == want, nil
}
