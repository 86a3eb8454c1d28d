//go:build crashpoints && unix

package crashpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	armed Point
	left  atomic.Int64
)

func init() {
	v, ok := os.LookupEnv("TENANTRY_CRASHPOINT")
	if !ok || v == "" {
		return
	}
	name, n, ok := strings.Cut(v, ":")
	times, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil || times < 1 || !slices.Contains(All(), Point(name)) {
		fmt.Fprintf(os.Stderr, "TENANTRY_CRASHPOINT=%s is not NAME:N with one of the names %v\n", v, All())
		os.Exit(2)
	}
	armed = Point(name)
	left.Store(times)
}

// Hit kills the process where this is the point that it is to die at, and it has been there
// often enough.
func Hit(p Point) {
	if p != armed || left.Add(-1) != 0 {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // until the signal is there
}
