package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

// Where `tenantry dev` answers when nobody says otherwise.
const (
	defaultAdmin = "http://127.0.0.1:8080"
	defaultQuery = "http://127.0.0.1:8081"
	defaultDir   = "./tenantry-data"
)

// addRemote gives a command the flags to find a running server: its URL, or the data
// directory of a running dev.
func addRemote(cmd *cobra.Command, flag, what, fallback string) {
	cmd.Flags().Var(newLink(), flag, what+" (default: that of the dev running on --data-dir, else "+fallback+")")
	if cmd.Flags().Lookup("data-dir") == nil {
		cmd.Flags().String("data-dir", defaultDir, "data directory of a running dev, to find its addresses")
	}
}

// adminURL is the admin API to talk to.
func adminURL(cmd *cobra.Command) (string, error) {
	if u := flagValue(cmd, "admin"); u != "" {
		return u, nil
	}
	a, found, err := runningDev(cmd)
	if err != nil || found {
		return a.Admin, err
	}
	return defaultAdmin, nil
}

// queryURLs are the query APIs to talk to, by region where that is known.
func queryURLs(cmd *cobra.Command) (map[string]string, error) {
	if u := flagValue(cmd, "query"); u != "" {
		return map[string]string{"": u}, nil
	}
	a, found, err := runningDev(cmd)
	if err != nil || found {
		return a.Regions, err
	}
	return map[string]string{"": defaultQuery}, nil
}

// queryURL is one of them: the first region's.
func queryURL(cmd *cobra.Command) (string, error) {
	urls, err := queryURLs(cmd)
	if err != nil {
		return "", err
	}
	return urls[slices.Min(slices.Collect(maps.Keys(urls)))], nil
}

// runningDev finds the dev that runs on --data-dir. That none does is an error only where the
// user has named the directory.
func runningDev(cmd *cobra.Command) (daemon.Addresses, bool, error) {
	dir := flagValue(cmd, "data-dir")
	a, err := daemon.ReadAddresses(dir)
	if err == nil && len(a.Regions) > 0 {
		return a, true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if cmd.Flag("data-dir").Changed {
			return a, false, fmt.Errorf("no dev is running on %s: there is no %s in it", dir, daemon.AddressFile)
		}
		return a, false, nil
	}
	return a, false, err
}

// problemError is a problem+json answer.
type problemError struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
	Rest jsontext.Value `json:",unknown"`
}

func (p *problemError) Error() string {
	if len(p.Errors) == 0 {
		if p.Detail == "" {
			return p.Title
		}
		return p.Detail
	}
	// With fields at fault the detail only sums them up.
	var fields []string
	for _, e := range p.Errors {
		if e.Pointer != "" { // else it is the document itself
			e.Detail = e.Pointer + ": " + e.Detail
		}
		fields = append(fields, e.Detail)
	}
	return strings.Join(fields, "; ")
}

// httpClient has no time limit of its own: an import takes as long as it takes. Connecting and
// the first answer do not.
var httpClient = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	ResponseHeaderTimeout: time.Minute,
	IdleConnTimeout:       10 * time.Second,
}}

// errStopped says that the user has stopped the program while a server was asked.
var errStopped = errors.New("stopped before it was answered")

// request asks a server, and returns its answer if it is a good one.
func request(ctx context.Context, method, url string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := httpClient.Do(req)
	if ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, errStopped
	}
	if err != nil {
		return nil, fmt.Errorf("%w: is it running there? name another address with --admin, --query or --data-dir", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	p := new(problemError)
	if json.Unmarshal(b, p) != nil || p.Title == "" {
		return nil, fmt.Errorf("%s %s: %s: %.200s", method, url, resp.Status, b)
	}
	return nil, p
}

// get decodes a JSON answer into v, and returns the headers.
func get(ctx context.Context, url string, v any) (http.Header, error) {
	resp, err := request(ctx, http.MethodGet, url, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.UnmarshalRead(resp.Body, v); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return resp.Header, nil
}
