//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// scratch is removed when all tests are over.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "tenantry-faults-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's
	// A link of toxiproxy's that was changed, or reset, while data came may leave its goroutines behind.
	theirs := []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
	}
	goleak.VerifyTestMain(m, append(theirs, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(scratch); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))...)
}

// program is the tenantry binary that can be told to die, built from this tree once in a run.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "tenantry")
	out, err := exec.Command("go", "build", "-tags", "crashpoints", "-o", path, "github.com/tenantry/tenantry/cmd/tenantry").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// environment is ours without settings of Tenantry's, and with others.
func environment(more ...string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TENANTRY_") {
			out = append(out, v)
		}
	}
	return append(out, more...)
}

// draw is a source of random numbers, of a seed that is printed.
func draw(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("TENANTRY_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("moments and commands are drawn with TENANTRY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// child is a source of random numbers for another goroutine.
func child(r *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(r.Uint64(), r.Uint64())) }

// long tells that this is the long form, which repeats and waits more.
func long() bool { return os.Getenv("TENANTRY_KILLS") != "" }

// pause waits so long, or until the test has ended.
func pause(t *testing.T, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// await returns nil once something is so, or an error after a while.
func await(limit time.Duration, what string, so func() bool) error {
	soon := time.NewTicker(5 * time.Millisecond)
	defer soon.Stop()
	late := time.NewTimer(limit)
	defer late.Stop()
	for !so() {
		select {
		case <-soon.C:
		case <-late.C:
			return fmt.Errorf("after %s still not so: %s", limit, what)
		}
	}
	return nil
}
