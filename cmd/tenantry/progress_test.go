package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

func TestProgress_WithoutATerminal_IsAPlainLineNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		cmd := new(cobra.Command)
		cmd.SetErr(&out)
		p := newProgress(cmd, "import", 1000)
		for range 20 { // a line a second, of 40 octets
			time.Sleep(time.Second)
			if n, err := p.Write(make([]byte, 40)); n != 40 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
			p.line()
		}
		p.end()
		want := []string{
			"import: 5 lines, 1 a second, 20%, about 20s left",
			"import: 10 lines, 1 a second, 40%, about 15s left",
			"import: 15 lines, 1 a second, 60%, about 10s left",
			"import: 20 lines, 1 a second, 80%, about 5s left",
		}
		if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func TestProgress_OfAnInputWhoseSizeNobodyKnows_SaysNoTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		cmd := new(cobra.Command)
		cmd.SetErr(&out)
		p := newProgress(cmd, "import", -1)
		time.Sleep(6 * time.Second)
		p.line()
		if got, want := out.String(), "import: 1 line, 0 a second\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
