package testservers

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Below the range from which Linux takes the ports of outgoing connections (32768 on), and above
// those that services are known by. See the package's comment.
const (
	firstPort = 15000
	lastPort  = 32000
)

// freeAddresses are loopback addresses that nobody listened on a moment ago, all different.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var found []string
	var held []net.Listener // until all are found, so that none is found twice
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for tries := 0; len(found) < n; tries++ {
		if tries == 1000 {
			return nil, errors.New("find free ports on 127.0.0.1: a thousand were taken")
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		held, found = append(held, listener), append(found, address)
	}
	return found, nil
}

// FreeAddresses is freeAddresses for tests that start servers of their own, which have to come back
// at the same address after a kill.
func FreeAddresses(tb testing.TB, n int) []string {
	tb.Helper()
	all, err := freeAddresses(tb.Context(), n)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}
