package adminapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// readAll is what a lineReader makes of its input: each line, "<too long>" in place of one that is.
func readAll(r io.Reader, buffer int) (lines []string, err error) {
	reader := lineReader{r: bufio.NewReaderSize(r, buffer)}
	for {
		line, tooLong, err := reader.next()
		switch {
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return lines, err
		case tooLong:
			lines = append(lines, "<too long>")
		default:
			lines = append(lines, string(line))
		}
	}
}

func TestLineReader_AnyInput_GivesTheLinesOfTheText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.StringMatching(`[ab\r]{0,40}[ab]|`)).Draw(t, "lines")
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		text := strings.Join(want, end)
		// A text that ends with an empty line has a line end there, and no line behind it.
		if n := len(want); n > 0 && want[n-1] == "" {
			want = want[:n-1]
		}
		got, err := readAll(iotest.OneByteReader(strings.NewReader(text)), 16)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
			t.Fatalf("%q: got %q, %v, want %q", text, got, err, want)
		}
	})
}

func TestLineReader_LongLines_AreCutOutAlone(t *testing.T) {
	exact := strings.Repeat("a", maxBody)
	for name, row := range map[string]struct{ text, want string }{
		"as long as may be":             {exact + "\nb", "<exact>|b"},
		"as long as may be, CRLF":       {exact + "\r\nb", "<exact>|b"},
		"as long as may be, at the end": {"b\n" + exact, "b|<exact>"},
		"too long by one":               {exact + "a\nb", "<too long>|b"},
		"too long by one, CRLF":         {exact + "a\r\nb", "<too long>|b"},
		"too long by one, at the end":   {"b\n" + exact + "a", "b|<too long>"},
		"too long by far":               {"b\n" + strings.Repeat(exact, 5) + "\nc", "b|<too long>|c"},
		"two that are too long":         {exact + "a\n" + exact + "b\nc\n", "<too long>|<too long>|c"},
		"a carriage return is no end":   {"a\rb\n\r\nc", "a\rb||c"},
		"nothing":                       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			lines, err := readAll(strings.NewReader(row.text), 4096)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(strings.Join(lines, "|"), exact, "<exact>")
			if got != row.want {
				t.Errorf("got %.100q, want %q", got, row.want)
			}
		})
	}
}

func TestLineReader_TheInputBreaksOff_DropsTheLineThatIsNotWhole(t *testing.T) {
	broken := errors.New("connection reset")
	lines, err := readAll(io.MultiReader(strings.NewReader("whole\nhal"), iotest.ErrReader(broken)), 16)
	if !errors.Is(err, broken) || strings.Join(lines, "|") != "whole" {
		t.Errorf("got %q, %v", lines, err)
	}
}

func TestLineQueue_IsBoundedByLinesAndOctets(t *testing.T) {
	for name, octets := range map[string]int{"small lines": 10, "large lines": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			q := newLineQueue()
			const all = 3 * chunkLines
			go func() {
				for i := range all {
					q.put(importLine{number: i + 1, octets: octets})
				}
				q.finish(io.EOF)
			}()
			next := 1
			for {
				lines, err := q.take()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(lines) > chunkLines || len(lines)*octets > chunkOctets+octets {
					t.Errorf("took %d lines of %d octets at once", len(lines), octets)
				}
				for _, l := range lines {
					if l.number != next {
						t.Fatalf("got line %d, want %d", l.number, next)
					}
					next++
				}
			}
			if next != all+1 {
				t.Errorf("got %d lines, want %d", next-1, all)
			}
		})
	}
}

func TestLineQueue_TheReaderFails_WaitingLinesAreDropped(t *testing.T) {
	q := newLineQueue()
	q.put(importLine{number: 1})
	broken := errors.New("connection reset")
	q.finish(broken)
	if lines, err := q.take(); !errors.Is(err, broken) {
		t.Errorf("got %v, %v", lines, err)
	}
}

func TestLineQueue_Stopped_EndsBothSides(t *testing.T) {
	q := newLineQueue()
	put := make(chan bool)
	go func() {
		for q.put(importLine{}) {
		}
		put <- false
	}()
	q.stop()
	<-put
	if _, err := q.take(); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
}

// through sends parts through a spool, and is what came out. The writer is ahead by as much as it
// likes.
func through(t testing.TB, s *spool, parts [][]byte) []byte {
	t.Helper()
	written := make(chan error, 1)
	go func() {
		for _, part := range parts {
			if _, err := s.Write(part); err != nil {
				written <- err
				return
			}
		}
		s.finish(io.EOF)
		written <- nil
	}()
	var got []byte
	for {
		b, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSpool_WhateverTheOrder_GivesWhatItTook(t *testing.T) {
	for name, noFile := range map[string]bool{"with a file": false, "without a place for one": true} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				s := newSpool()
				s.noFile = noFile
				var parts [][]byte
				for range 200 {
					part := make([]byte, rand.IntN(1<<15))
					for i := range part {
						part[i] = byte(rand.Uint32())
					}
					parts = append(parts, part)
				}
				if got, want := through(t, s, parts), bytes.Join(parts, nil); !bytes.Equal(got, want) {
					t.Fatalf("got %d octets, which are not the %d that were written", len(got), len(want))
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSpool_NoOneReads_TheWriterDoesNotWaitAndMemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newSpool()
	part := bytes.Repeat([]byte("a"), 64<<10)
	for range 200 { // 12.5 MiB
		if _, err := s.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.memory) > spoolMemory || s.written == 0 {
		t.Errorf("%d octets are in memory and %d on disk", len(s.memory), s.written)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the file has a name, which a crash would leave behind: %v, %v", left, err)
	}
	s.finish(io.EOF)
	total := 0
	for {
		b, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += len(b)
	}
	if want := 200 * len(part); total != want {
		t.Errorf("got %d octets, want %d", total, want)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpool_ReadToItsEnd_UsesMemoryAgain(t *testing.T) {
	s := newSpool()
	part := bytes.Repeat([]byte("a"), spoolMemory)
	for range 3 {
		if _, err := s.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	for read := 0; read < 3*len(part); {
		b, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		read += len(b)
	}
	if _, err := s.Write([]byte("b")); err != nil || len(s.memory) != 1 || s.written != 0 {
		t.Errorf("got %v, %d octets in memory, %d on disk", err, len(s.memory), s.written)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpool_TheReaderFails_TheWriterIsTold(t *testing.T) {
	s := newSpool()
	broken := errors.New("connection reset")
	s.finish(broken)
	if _, err := s.Write([]byte("a")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := s.next(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
