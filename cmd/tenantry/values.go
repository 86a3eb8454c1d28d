package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/daemon"
)

// Flags check their values as they are set, so that a wrong one is refused in the same words
// whether it came by the command line, the environment or a file, and `config check` finds it.

// choice is one of a few words.
type choice struct {
	value string
	of    []string
}

func newChoice(value string, of ...string) *choice { return &choice{value: value, of: of} }

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "word" }
func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("it is one of %s", strings.Join(c.of, ", "))
	}
	c.value = s
	return nil
}

// address is a host:port to listen on.
type address string

func newAddress(value string) *address { a := address(value); return &a }

func (a *address) String() string { return string(*a) }
func (a *address) Type() string   { return "host:port" }
func (a *address) Set(s string) error {
	if err := checkAddress(s); err != nil {
		return err
	}
	*a = address(s)
	return nil
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, such as 127.0.0.1:8080; port 0 takes a free one", s)
	}
	return nil
}

// link is an http or https URL, or none.
type link string

func newLink() *link { return new(link) }

func (l *link) String() string { return string(*l) }
func (l *link) Type() string   { return "URL" }
func (l *link) Set(s string) error {
	if s != "" {
		if err := checkURL(s); err != nil {
			return err
		}
	}
	*l = link(strings.TrimSuffix(s, "/"))
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		// Not with the URL, which may hold a password: who reports this shows it masked.
		return errors.New("it is not a URL such as http://127.0.0.1:8080")
	}
	return nil
}

// list is a value that may be given several times, or comma-separated. The first one
// replaces the default.
type list struct {
	values []string
	set    bool
	kind   string
	check  func(string) error
}

func (l *list) String() string { return strings.Join(l.values, ",") }
func (l *list) Type() string   { return l.kind }
func (l *list) Set(s string) error {
	if !l.set {
		l.values, l.set = nil, true
	}
	for v := range strings.SplitSeq(s, ",") {
		v = strings.TrimSpace(v)
		if v == "" {
			continue
		}
		if err := l.check(v); err != nil {
			return err
		}
		l.values = append(l.values, v)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func checkRegionName(s string) error {
	if !regionName.MatchString(s) {
		return fmt.Errorf("%q is not a region's name: it is 1 to 63 of a-z, 0-9 and -, not beginning with -", s)
	}
	return nil
}

func checkRegion(s string) error {
	_, err := parseRegion(s)
	return err
}

// parseRegion reads NAME=HOST:PORT.
func parseRegion(s string) (daemon.RegionAddress, error) {
	name, listen, ok := strings.Cut(s, "=")
	if !ok {
		return daemon.RegionAddress{}, fmt.Errorf("%q is not NAME=HOST:PORT, such as eu-west=127.0.0.1:8081", s)
	}
	if err := checkRegionName(name); err != nil {
		return daemon.RegionAddress{}, err
	}
	if err := checkAddress(listen); err != nil {
		return daemon.RegionAddress{}, err
	}
	return daemon.RegionAddress{Name: name, Listen: listen}, nil
}

// number is a whole number within bounds.
type number struct{ value, min, max int }

func (n *number) String() string { return strconv.Itoa(n.value) }
func (n *number) Type() string   { return "number" }
func (n *number) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < n.min || v > n.max {
		return fmt.Errorf("it is a whole number from %d to %d", n.min, n.max)
	}
	n.value = v
	return nil
}
