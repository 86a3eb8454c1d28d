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

// meter shows how far each stage of long work is: a bar with rate and time left on a terminal, else a
// plain line now and then.
type meter struct {
	out  io.Writer
	term *os.File // nil: no terminal

	mu    sync.Mutex
	name  string
	bar   *progressbar.ProgressBar
	began time.Time
	told  time.Time
}

func newMeter(cmd *cobra.Command) *meter {
	m := &meter{out: cmd.ErrOrStderr()}
	if f, ok := m.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.term = f
	}
	return m
}

// stage tells how much of a stage is done. A new name begins a new one.
func (m *meter) stage(name string, done, total uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if name != m.name {
		m.finish()
		m.name, m.began, m.told = name, now, now
		if m.term != nil {
			m.bar = progressbar.NewOptions64(int64(total),
				progressbar.OptionSetWriter(m.term), progressbar.OptionSetDescription(name), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
				progressbar.OptionSetItsString("events"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
				progressbar.OptionSetPredictTime(true))
		}
	}
	if m.bar != nil {
		_ = m.bar.Set64(int64(done)) // a bar that cannot be drawn must not stop the work
		return
	}
	if now.Sub(m.told) < plainEvery {
		return
	}
	m.told = now
	took := now.Sub(m.began)
	text := fmt.Sprintf("%s: %s of %s events, %s a second", name, thousands(done), thousands(total), thousands(uint64(float64(done)/took.Seconds())))
	if done > 0 && total >= done {
		left := time.Duration(float64(took) * float64(total-done) / float64(done))
		text += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	fmt.Fprintln(m.out, text)
}

// clear makes room for a line of the result.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
	m.name = ""
}

func (m *meter) finish() {
	if m.bar != nil {
		_ = m.bar.Finish()
		m.bar = nil
	}
}
