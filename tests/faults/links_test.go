//go:build unix

package faults

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/internal/testservers"
)

// links are the ways between the parts of a system that lead through proxies, by name:
//
//	catalogue-N=postgres   catalogues=kafka-N   regions=kafka-N   REGION-N=source
//
// The zero value has none, and every way is direct.
type links struct {
	t  *testing.T
	mu *sync.Mutex
	by map[string]*link
}

func newLinks(t *testing.T) links {
	return links{t: t, mu: new(sync.Mutex), by: make(map[string]*link)}
}

// link is one way through a proxy.
type link struct {
	name  string
	proxy *toxiproxy.Proxy
}

// add makes a way to an address, and is the address that it begins at.
func (l links) add(name, to string) (string, error) {
	log := zerolog.Nop()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), log)
	p := toxiproxy.NewProxy(server, name, testservers.FreeAddresses(l.t, 1)[0], to)
	if err := p.Start(); err != nil {
		return "", fmt.Errorf("a proxy for %s: %w", name, err)
	}
	l.t.Cleanup(p.Stop)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[name] = &link{name: name, proxy: p}
	return p.Listen, nil
}

// kafka makes ways for some clients, given the address that a broker listens on.
func (l links) kafka(clients string) func(node int, bound string) (string, error) {
	return func(node int, bound string) (string, error) {
		return l.add(fmt.Sprintf("%s=kafka-%d", clients, node+1), bound)
	}
}

func (l links) database(catalogue int, to string) string {
	return l.url(fmt.Sprintf("catalogue-%d=postgres", catalogue), to)
}

func (l links) source(node, to string) string { return l.url(node+"=source", to) }

// url is a URL through a proxy.
func (l links) url(name, to string) string {
	if l.by == nil {
		return to
	}
	u, err := url.Parse(to)
	if err != nil {
		l.t.Fatal(err)
	}
	address, err := l.add(name, u.Host)
	if err != nil {
		l.t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

// The directions of a way.
const (
	up   = "upstream"   // from whoever connected
	down = "downstream" // to whoever connected
)

// spoil adds one of toxiproxy's toxics to the way, in one direction, until it is taken away again.
func (l *link) spoil(direction, kind, attributes string) (mend func() error, err error) {
	name := kind + "-" + direction
	_, err = l.proxy.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":%s}`, name, kind, direction, attributes)))
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", name, l.name, err)
	}
	return func() error { return l.proxy.Toxics.RemoveToxic(context.Background(), name) }, nil
}

// cut breaks all connections of the way, and takes no new ones until it is mended.
func (l *link) cut() (mend func() error, err error) {
	l.proxy.Stop()
	return l.proxy.Start, nil
}
