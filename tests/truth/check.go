package truth

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/events"
)

// askedAtOnce is how many hostnames a batch may have.
const askedAtOnce = 1000

// Node is a node of a region to compare with the log.
type Node struct {
	Client *http.Client
	URL    string
}

// CheckRegion looks up every hostname that anybody ever had, and every tenant by its ID, and says
// what differs from the log. The node has to have applied all of it.
func (l *Log) CheckRegion(ctx context.Context, n Node) []string {
	return append(l.CheckHostnames(ctx, n), l.CheckTenants(ctx, n)...)
}

// CheckHostnames is the part of CheckRegion that takes few requests: what is asked for by
// hostname.
func (l *Log) CheckHostnames(ctx context.Context, n Node) []string {
	var f findings
	eachAtOnce(slices.Chunk(l.Hostnames(), askedAtOnce), func(chunk []string) { l.checkBatch(ctx, &f, n, chunk) })
	return f.list
}

// CheckTenants is the part of CheckRegion that asks for each tenant by its ID.
func (l *Log) CheckTenants(ctx context.Context, n Node) []string {
	var f findings
	eachAtOnce(maps.Values(l.Tenants), func(tenant events.Tenant) { l.checkTenant(ctx, &f, n, tenant) })
	return f.list
}

// findings collects from several goroutines what differs.
type findings struct {
	mu   sync.Mutex
	list []string
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// eachAtOnce calls do for every item, several at a time.
func eachAtOnce[T any](items iter.Seq[T], do func(T)) {
	var workers sync.WaitGroup
	work := make(chan T)
	for range 4 {
		workers.Go(func() {
			for item := range work {
				do(item)
			}
		})
	}
	for item := range items {
		work <- item
	}
	close(work)
	workers.Wait()
}

// send asks the node, and is its whole answer.
func (n Node) send(ctx context.Context, method, path, body string) (status int, header http.Header, text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := n.Client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

// checkDocument adds a finding where a tenant's context is not what the log says. asked is the
// hostname that was asked for, "" where the tenant was asked for by its ID.
func (l *Log) checkDocument(f *findings, tenant events.Tenant, asked string, got jsontext.Value) {
	what := cmp.Or(asked, tenant.ID.String())
	l.mu.Lock()
	known := bytes.Equal(l.right[what], got)
	l.mu.Unlock()
	if known {
		return
	}
	g, err := Canonical(got)
	if err != nil {
		f.add("%s: %v: %s", what, err, got)
		return
	}
	wanted, err := Canonical(l.Context(tenant, asked))
	if err != nil {
		f.add("%s: %v", what, err)
		return
	}
	if g != wanted {
		var a, b map[string]any
		_, _ = json.Unmarshal([]byte(wanted), &a), json.Unmarshal([]byte(g), &b) // both are canonical JSON
		f.add("%s (-log +region):\n%s", what, gocmp.Diff(a, b))
		return
	}
	l.mu.Lock()
	l.right[what] = bytes.Clone(got)
	l.mu.Unlock()
}

func (l *Log) checkBatch(ctx context.Context, f *findings, n Node, names []string) {
	body, err := json.Marshal(map[string]any{"hostnames": names})
	if err != nil {
		f.add("%v", err)
		return
	}
	status, _, text, err := n.send(ctx, http.MethodPost, "/v1/lookup", string(body))
	if err != nil || status != http.StatusOK {
		f.add("batch look-up: %d %v %.300s", status, err, text)
		return
	}
	var items []struct {
		Hostname string         `json:"hostname"`
		Context  jsontext.Value `json:"context"`
		Error    *struct {
			Type   string `json:"type"`
			Detail string `json:"detail"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &items); err != nil || len(items) != len(names) {
		f.add("batch look-up: %d answers to %d hostnames: %v", len(items), len(names), err)
		return
	}
	for i, name := range names {
		tenant, held := l.Holder(name)
		item := items[i]
		switch {
		case item.Hostname != name:
			f.add("answer %d is about %s, want %s", i, item.Hostname, name)
		case held && item.Error != nil:
			f.add("%s of %s: got %+v", name, tenant.ID, *item.Error)
		case held:
			l.checkDocument(f, tenant, name, item.Context)
		case item.Error == nil || !strings.HasSuffix(item.Error.Type, "/unknown-hostname"):
			f.add("%s is nobody's: got %s", name, item.Context)
		}
	}
}

func (l *Log) checkTenant(ctx context.Context, f *findings, n Node, tenant events.Tenant) {
	status, header, text, err := n.send(ctx, http.MethodGet, "/v1/tenants/"+tenant.ID.String(), "")
	switch {
	case err != nil:
		f.add("%s: %v", tenant.ID, err)
	case tenant.Status == events.StatusPurged:
		if status != http.StatusNotFound {
			f.add("%s is purged: got %d %s", tenant.ID, status, text)
		}
	case status != http.StatusOK:
		f.add("%s: got %d %s", tenant.ID, status, text)
	default:
		l.checkDocument(f, tenant, "", text)
		if got, want := header.Get("Tenantry-Version"), fmt.Sprint(tenant.Version); got != want {
			f.add("%s: got Tenantry-Version %s, want %s", tenant.ID, got, want)
		}
	}
}
