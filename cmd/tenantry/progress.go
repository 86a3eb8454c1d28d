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

// progress shows how far an import is: a bar with rate and time left on a terminal,
// else a plain line now and then. The bytes written to it are those of the input as they are
// sent, which may be far ahead of the work: done is what was answered.
type progress struct {
	out io.Writer
	bar *progressbar.ProgressBar // nil: no terminal

	mu    sync.Mutex
	size  int64 // -1: unknown
	sent  int64
	ends  []int64 // where each line ends that was sent and not answered
	first int     // the number of the first one of these
	done  int64   // where the line ends that was answered last
	lines int     // answered
	began time.Time
	told  time.Time
}

func newProgress(cmd *cobra.Command, size int64) *progress {
	now := time.Now()
	p := &progress{out: cmd.ErrOrStderr(), size: size, first: 1, began: now, told: now}
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(size,
			progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("import"), progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true))
	}
	return p
}

// Write notes where the lines of the input end; it never fails.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range b {
		if c == '\n' {
			p.ends = append(p.ends, p.sent+int64(i)+1)
		}
	}
	p.sent += int64(len(b))
	return len(b), nil
}

// line counts a line that was answered, told by its number in the input. Lines are answered in
// their order; one that is left out was blank.
func (p *progress) line(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines++
	switch over := number - p.first + 1; {
	case over > len(p.ends): // the last line, which nothing ends
		p.done, p.ends, p.first = p.sent, nil, number+1
	case over > 0:
		p.done, p.ends, p.first = p.ends[over-1], p.ends[over:], number+1
	}
	if p.bar != nil {
		_ = p.bar.Set64(p.done) // a bar that cannot be drawn must not stop the work
	}
	if p.bar != nil || time.Since(p.told) < plainEvery {
		return
	}
	p.told = time.Now()
	took := time.Since(p.began)
	text := fmt.Sprintf("import: %s, %.0f a second", count(p.lines, "line"), float64(p.lines)/took.Seconds())
	if p.size > 0 && p.done > 0 {
		left := time.Duration(float64(took) * float64(p.size-p.done) / float64(p.done))
		text += fmt.Sprintf(", %d%%, about %s left", p.done*100/p.size, left.Round(time.Second))
	}
	fmt.Fprintln(p.out, text)
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
