package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/internal/daemon"
)

// dev is a running `tenantry dev` with two regions.
type dev struct {
	*process
	admin   string
	regions []string // URLs
}

// startDev starts the program on a data directory, and returns when it says that it is ready.
func startDev(ctx context.Context, cfg *config, dataDir string) (*dev, error) {
	stdout, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	var d dev
	d.process, err = startProcess(ctx, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, cfg.binary, "dev", "--data-dir", dataDir, "--listen", "127.0.0.1:0",
			"--region", "eu-west=127.0.0.1:0", "--region", "us-east=127.0.0.1:0", "--log-level", "warn")
		cmd.Stdout, cmd.Stderr = ours, cfg.log
		return cmd
	})
	if closeErr := ours.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.binary, err)
	}
	if err := d.awaitLine(ctx, stdout, "Tenantry is ready"); err != nil {
		d.stop()
		return nil, fmt.Errorf("%s is not ready: %w", cfg.binary, err)
	}
	a, err := daemon.ReadAddresses(dataDir)
	if err != nil {
		d.stop()
		return nil, err
	}
	d.admin = a.Admin
	for _, url := range a.Regions {
		d.regions = append(d.regions, url)
	}
	slices.Sort(d.regions)
	return &d, nil
}

// errNotFound: a server answered 404.
var errNotFound = errors.New("not found")

// get fetches what a URL has.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("get %s: %w", url, err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("get %s: %w", url, errNotFound)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("get %s: %s: %s", url, resp.Status, body)
	}
	return body, nil
}

// imported is what an import came to.
type imported struct {
	created, refused int
	answered         time.Duration // until the last line's answer
	visible          time.Duration // until both regions held all of it
	events           uint64
}

// importLines sends NDJSON to the API, and waits for both regions.
func (d *dev) importLines(ctx context.Context, lines io.Reader) (out imported, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.admin+"/v1/import", lines)
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	answers.Buffer(nil, 1<<20)
	for answers.Scan() {
		if bytes.Contains(answers.Bytes(), []byte(`"status":"created"`)) {
			out.created++
		} else {
			out.refused++
		}
	}
	if err := answers.Err(); err != nil {
		return out, fmt.Errorf("read the import's answers: %w", err)
	}
	out.answered = time.Since(began)
	if out.events, err = d.awaitHead(ctx); err != nil {
		return out, err
	}
	out.visible = time.Since(began)
	return out, nil
}

// awaitHead waits until both regions hold what the store held when it was called, and returns
// that position: of a group that is made for the purpose.
func (d *dev) awaitHead(ctx context.Context) (uint64, error) {
	answer, err := d.command(ctx, http.MethodPost, "/v1/groups", []byte(`{"name":"The last event"}`))
	if err != nil {
		return 0, err
	}
	for _, region := range d.regions {
		for {
			body, err := get(ctx, region+"/v1/status")
			if err != nil {
				return 0, err
			}
			var status struct {
				Position uint64 `json:"position"`
			}
			if err := json.Unmarshal(body, &status); err != nil {
				return 0, err
			}
			if status.Position >= answer.position {
				break
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return 0, err
			}
		}
	}
	return answer.position, nil
}

// commandAnswer is what matters here of a command's answer.
type commandAnswer struct {
	position uint64
	token    string
}

func (d *dev) command(ctx context.Context, method, path string, body []byte) (commandAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.admin+path, bytes.NewReader(body))
	if err != nil {
		return commandAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return commandAnswer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return commandAnswer{}, err
	}
	if resp.StatusCode/100 != 2 {
		return commandAnswer{}, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	var answer struct {
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return commandAnswer{}, err
	}
	return commandAnswer{position: answer.Position, token: resp.Header.Get("Tenantry-Token")}, nil
}

// path is below the directory of this run.
func (cfg *config) path(name string) string { return filepath.Join(cfg.dir, name) }
