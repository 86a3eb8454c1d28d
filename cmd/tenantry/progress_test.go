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
		p := newProgress(cmd, 1000)
		for i := range 20 { // a line a second, of 40 octets
			time.Sleep(time.Second)
			if n, err := p.Write([]byte(strings.Repeat("x", 39) + "\n")); n != 40 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
			p.line(i + 1)
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
		p := newProgress(cmd, -1)
		time.Sleep(6 * time.Second)
		p.line(1)
		if got, want := out.String(), "import: 1 line, 0 a second\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestProgress_OfLinesThatWereSentFarAhead_CountsThoseThatWereAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		cmd := new(cobra.Command)
		cmd.SetErr(&out)
		whole := strings.Repeat("123456789\n", 8) + "\n\n" + "123456789\n" + "12345678" // 10 lines and two blank ones
		p := newProgress(cmd, int64(len(whole)))
		if _, err := p.Write([]byte(whole[:35])); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(whole[35:])); err != nil {
			t.Fatal(err)
		}
		for _, number := range []int{1, 2, 5, 8, 11, 12} {
			time.Sleep(5 * time.Second)
			p.line(number)
		}
		want := []string{
			"import: 1 line, 0 a second, 10%, about 45s left",
			"import: 2 lines, 0 a second, 20%, about 40s left",
			"import: 3 lines, 0 a second, 50%, about 15s left",
			"import: 4 lines, 0 a second, 80%, about 5s left",
			"import: 5 lines, 0 a second, 92%, about 2s left",
			"import: 6 lines, 0 a second, 100%, about 0s left",
		}
		if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}
