package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Import tenants from NDJSON through the admin API",
		Long: `Reads one tenant a line, as POST /v1/tenants takes it (also databases and groups, told
by their IDs), and says for each line what became of it: created, unchanged, conflict
or invalid. A refused line changes nothing, and the others go in. The same file again
changes nothing.

Exit code 4 where any line was refused.`,
		Example: "  tenantry import tenants.ndjson\n  tenantry export --admin http://old:8080 | tenantry import - --admin http://new:8080",
		Args:    takesOne("a file to import, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := adminURL(cmd)
			if err != nil {
				return err
			}
			each := reportRefused(cmd.OutOrStdout())
			if asJSON(cmd) {
				each = func(line importLine) error { return printf(cmd, "%s\n", line.raw) }
			}
			summary, err := importInto(cmd.Context(), cmd, admin, args[0], each)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				// The lines are the result; the sum is for the person.
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), summary)
			} else {
				err = printf(cmd, "%s\n", summary)
			}
			if err == nil && summary.refused() > 0 {
				err = &exitError{code: exitPartial}
			}
			return err
		},
	}
	addOutput(cmd)
	addRemote(cmd, "admin", "URL of the admin API", defaultAdmin)
	return cmd
}

// importLine is the answer to one line of an import.
type importLine struct {
	Line   int           `json:"line"`
	ID     string        `json:"id"`
	Status string        `json:"status"`
	Error  *problemError `json:"error"`

	raw jsontext.Value
}

// importSummary counts lines by status.
type importSummary struct {
	lines, created, unchanged, conflict, invalid, failed int
	took                                                 time.Duration
}

func (s *importSummary) count(status string) {
	s.lines++
	switch status {
	case "created":
		s.created++
	case "unchanged":
		s.unchanged++
	case "conflict":
		s.conflict++
	case "invalid":
		s.invalid++
	default:
		s.failed++
	}
}

func (s *importSummary) refused() int { return s.conflict + s.invalid + s.failed }

func (s *importSummary) String() string {
	text := fmt.Sprintf("%s: %d created, %d unchanged, %d conflict, %d invalid", count(s.lines, "line"), s.created, s.unchanged, s.conflict, s.invalid)
	if s.failed > 0 {
		text += fmt.Sprintf(", %d failed (import the file again)", s.failed)
	}
	return fmt.Sprintf("%s (%.1f s)", text, s.took.Seconds())
}

// reportRefused prints a line for each refused one.
func reportRefused(w io.Writer) func(importLine) error {
	return func(line importLine) error {
		if line.Error == nil {
			return nil
		}
		id := line.ID
		if id != "" {
			id += ": "
		}
		_, err := fmt.Fprintf(w, "line %d: %s: %s%s\n", line.Line, line.Status, id, line.Error)
		return err
	}
}

// source is what is imported. It keeps the error that ended it: of the request that reads it, one
// would only see that it broke off.
type source struct {
	io.Reader
	name   string
	failed atomic.Pointer[error]
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed.Store(&err)
	}
	return n, err
}

// fault is why it could not be read to its end, if it could not.
func (s *source) fault() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("read %s: %w", s.name, *err)
	}
	return nil
}

// checkSource looks at a file that is to be imported, and refuses what is none.
func checkSource(file string) (os.FileInfo, error) {
	info, err := os.Stat(file)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory: name a file of NDJSON", file)
	}
	return info, err
}

// importInto sends a file (- is standard input) to the admin API and calls each with every
// line's answer, in the order of the lines.
func importInto(ctx context.Context, cmd *cobra.Command, admin, file string, each func(importLine) error) (*importSummary, error) {
	in := &source{Reader: cmd.InOrStdin(), name: "standard input"}
	size := int64(-1)
	if file != "-" {
		info, err := checkSource(file)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = &source{Reader: f, name: file}
		if info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	progress := newProgress(cmd, size)
	defer progress.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	resp, err := request(ctx, cmd, http.MethodPost, admin+"/v1/import", io.TeeReader(in, progress), http.Header{
		"Content-Type": {"application/x-ndjson"}, "Accept": {"application/x-ndjson"},
	})
	if err != nil {
		return nil, cmp.Or(in.fault(), err)
	}
	defer resp.Body.Close()
	summary := new(importSummary)
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		raw, err := lines.ReadBytes('\n')
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %s: what was answered is done; import the file again for the rest", count(summary.lines, "line"))
		}
		if cause := in.fault(); err != nil && cause != nil {
			return nil, fmt.Errorf("%w: what was answered, %s, is done; import it again for the rest", cause, count(summary.lines, "line"))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the answer ended after %s (%w): what was answered is done; import the file again for the rest", count(summary.lines, "line"), err)
		}
		if text := strings.TrimSpace(string(raw)); text != "" {
			line := importLine{raw: jsontext.Value(text)}
			if err := json.Unmarshal(line.raw, &line); err != nil {
				return nil, fmt.Errorf("after %s: read the answer: %w", count(summary.lines, "line"), err)
			}
			summary.count(line.Status)
			progress.line(line.Line)
			if err := each(line); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			summary.took = time.Since(began)
			return summary, nil
		}
	}
}
