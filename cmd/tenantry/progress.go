package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// plainEvery is how often progress is told where there is no terminal to draw on.
const plainEvery = 5 * time.Second

// progress shows how far a long piece of work is: a bar with rate and time left on a terminal,
// else a plain line now and then. The bytes written to it are those of the input that were
// taken.
type progress struct {
	what string
	out  io.Writer
	bar  *progressbar.ProgressBar // nil: no terminal

	mu    sync.Mutex
	size  int64 // -1: unknown
	taken int64
	lines int
	began time.Time
	told  time.Time
}

func newProgress(cmd *cobra.Command, what string, size int64) *progress {
	now := time.Now()
	p := &progress{what: what, out: cmd.ErrOrStderr(), size: size, began: now, told: now}
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(size,
			progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true))
	}
	return p
}

// Write counts bytes of the input; it never fails.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken += int64(len(b))
	if p.bar != nil {
		_ = p.bar.Add(len(b)) // a bar that cannot be drawn must not stop the work
	}
	return len(b), nil
}

// line counts a line that is done.
func (p *progress) line() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines++
	if p.bar != nil || time.Since(p.told) < plainEvery {
		return
	}
	p.told = time.Now()
	took := time.Since(p.began)
	text := fmt.Sprintf("%s: %s, %.0f a second", p.what, count(p.lines, "line"), float64(p.lines)/took.Seconds())
	if p.size > 0 && p.taken > 0 {
		left := time.Duration(float64(took) * float64(p.size-p.taken) / float64(p.taken))
		text += fmt.Sprintf(", %d%%, about %s left", p.taken*100/p.size, left.Round(time.Second))
	}
	fmt.Fprintln(p.out, text)
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
