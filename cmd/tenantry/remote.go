package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/problem"
)

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

// is tells whether it is a problem of a type, given without its base.
func (p *problemError) is(name string) bool { return p.Type == problem.Base+name }

func (p *problemError) Error() string {
	if p.is("internal") || p.is("unavailable") {
		// The detail tells an API's client which headers to send.
		return "the server could not do it (" + p.Title + "): try again in a moment; its log says why"
	}
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

// details are what is wrong, without the places of a request that the user has not written.
func (p *problemError) details() string {
	var all []string
	for _, e := range p.Errors {
		all = append(all, e.Detail)
	}
	if len(all) == 0 {
		return p.Error()
	}
	return strings.Join(all, "; ")
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
func request(ctx context.Context, cmd *cobra.Command, method, url string, body io.Reader, header http.Header) (*http.Response, error) {
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
		return nil, unreachable(cmd, req.URL, err)
	}
	// A path that both APIs have is answered by the wrong one as well; only nodes name a region.
	wrong := cmd.Flag("admin") != nil && resp.Header.Get("Tenantry-Region") != ""
	if resp.StatusCode < 300 && !wrong {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	p := new(problemError)
	if wrong || (json.Unmarshal(b, p) == nil && p.is("no-such-route")) {
		if err := misdirected(ctx, cmd, url); err != nil {
			return nil, err
		}
	}
	if json.Unmarshal(b, p) != nil || p.Title == "" {
		return nil, fmt.Errorf("%s %s: %s: %.200s", method, url, resp.Status, b)
	}
	return nil, p
}

// misdirected says that a server is the other API, where its own description says so; nil: it
// does not.
func misdirected(ctx context.Context, cmd *cobra.Command, at string) error {
	base, _, _ := strings.Cut(at, "/v1/")
	flag, is, wanted := "query", "an admin API", "a query API"
	if cmd.Flag("admin") != nil {
		flag, is, wanted = "admin", "a query API", "the admin API"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/openapi.yaml", nil)
	if err != nil {
		return nil // what it was asked for went wrong already, and is told
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	head, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // the title is at its beginning
	_, name, _ := strings.Cut(is, " ")
	if err != nil || !strings.Contains(string(head), "title: Tenantry "+name+"\n") {
		return nil
	}
	return fmt.Errorf("%s is %s: give the URL of %s with --%s", base, is, wanted, flag)
}

// unreachable says which server does not answer, why, and how this command is told of another.
func unreachable(cmd *cobra.Command, at *url.URL, err error) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	if inner, ok := errors.AsType[*net.OpError](err); ok {
		err = inner.Err
	}
	if inner, ok := errors.AsType[*os.SyscallError](err); ok {
		err = inner.Err
	}
	server := (&url.URL{Scheme: at.Scheme, Host: at.Host}).String()
	hint := ""
	if flags := addressFlags(cmd); flags != "" {
		hint = ": is Tenantry running there? name another server with " + flags
	}
	return fmt.Errorf("no answer from %s (%w)%s", server, err, hint)
}

// addressFlags are the command's flags that say which server to ask.
func addressFlags(cmd *cobra.Command) string {
	var have []string
	for _, name := range []string{"admin", "query"} {
		if cmd.Flag(name) != nil {
			have = append(have, "--"+name)
		}
	}
	if len(have) == 0 {
		return ""
	}
	return strings.Join(append(have, "--data-dir"), " or ")
}

// get decodes a JSON answer into v, and returns the headers.
func get(cmd *cobra.Command, url string, v any) (http.Header, error) {
	resp, err := request(cmd.Context(), cmd, http.MethodGet, url, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.UnmarshalRead(resp.Body, v); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return resp.Header, nil
}
