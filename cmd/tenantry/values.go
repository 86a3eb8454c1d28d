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
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/daemon"
)

// Flags check their values as they are set, so that a wrong one is refused in the same words
// whether it came by the command line, the environment or a file, and `config check` finds it.
// The words are without the value: who reports them shows it, masked where it is a secret.

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

// checked is a text that has to pass a check.
type checked struct {
	value string
	kind  string
	check func(string) error
}

func (c *checked) String() string { return c.value }
func (c *checked) Type() string   { return c.kind }
func (c *checked) Set(s string) error {
	if err := c.check(s); err != nil {
		return err
	}
	c.value = s
	return nil
}

// newDirectory is where something is kept.
func newDirectory() *checked {
	return &checked{value: defaultDir, kind: "directory", check: func(s string) error {
		if s == "" {
			return errors.New("it needs a directory, such as " + defaultDir)
		}
		return nil
	}}
}

// newAddress is a host:port to listen on.
func newAddress(value string) *checked {
	return &checked{value: value, kind: "host:port", check: checkAddress}
}

func checkAddress(s string) error {
	if _, _, err := hostPort(s); err != nil {
		return errors.New("it is not HOST:PORT, such as 127.0.0.1:8080; port 0 takes a free one")
	}
	return nil
}

func checkBroker(s string) error {
	host, port, err := hostPort(s)
	if err != nil || host == "" || port == 0 {
		return errors.New("it is not HOST:PORT of a Kafka broker, such as kafka-1.example:9092; give several separated by commas")
	}
	return nil
}

func hostPort(s string) (host string, port uint64, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.ParseUint(text, 10, 16)
	return host, port, err
}

// newTime is a moment.
func newTime() *checked {
	return &checked{kind: "time", check: func(s string) error {
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return errors.New("it is not a time such as 2027-01-31T12:00:00Z")
		}
		return nil
	}}
}

// newGroup is the ID of a group.
func newGroup() *checked {
	return &checked{kind: "ID", check: func(s string) error {
		if _, err := events.ParseGroupID(s); err != nil {
			return errors.New(`it is not a group's ID: that is "grp_" and then 1 to 63 of a-z, 0-9 and -`)
		}
		return nil
	}}
}

// newRegion is the name of a region.
func newRegion() *checked { return &checked{kind: "name", check: checkRegionName} }

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
	// key is what only one element may have; nil: elements may repeat.
	key func(string) string
	// none says what to give where the list is set to nothing; "": it may be empty.
	none string
}

func (l *list) String() string { return strings.Join(l.values, ",") }
func (l *list) Type() string   { return l.kind }

// Set takes nothing where any element is wrong, and says what is wrong with each.
func (l *list) Set(s string) error {
	var all []string
	if l.set {
		all = slices.Clone(l.values)
	}
	var wrong []string
	for v := range strings.SplitSeq(s, ",") {
		v = strings.TrimSpace(v)
		if v == "" {
			continue
		}
		err := l.check(v)
		if err == nil && l.key != nil && slices.ContainsFunc(all, func(other string) bool { return l.key(other) == l.key(v) }) {
			err = fmt.Errorf("%s is given twice", l.key(v))
		}
		if err == nil {
			all = append(all, v)
			continue
		}
		text := err.Error()
		if v != s {
			text = strconv.Quote(v) + ": " + text
		}
		wrong = append(wrong, text)
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	if len(all) == 0 && l.none != "" {
		return errors.New(l.none)
	}
	l.values, l.set = all, true
	return nil
}

var regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func checkRegionName(s string) error {
	if !regionName.MatchString(s) {
		return errors.New("it is not a region's name: that is 1 to 63 of a-z, 0-9 and -, not beginning with -")
	}
	return nil
}

func checkRegion(s string) error {
	_, err := parseRegion(s)
	return err
}

// regionOf is the name in NAME=HOST:PORT.
func regionOf(s string) string {
	name, _, _ := strings.Cut(s, "=")
	return name
}

// parseRegion reads NAME=HOST:PORT.
func parseRegion(s string) (daemon.RegionAddress, error) {
	name, listen, ok := strings.Cut(s, "=")
	if !ok {
		return daemon.RegionAddress{}, errors.New("it is not NAME=HOST:PORT, such as eu-west=127.0.0.1:8081")
	}
	if err := checkRegionName(name); err != nil {
		return daemon.RegionAddress{}, fmt.Errorf("%q: %w", name, err)
	}
	if err := checkAddress(listen); err != nil {
		return daemon.RegionAddress{}, fmt.Errorf("%q: %w", listen, err)
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

// count is a number of things in words that fit it: 1 line, 2 lines.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
