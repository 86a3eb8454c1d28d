package queryapi

import (
	"bytes"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/events"
)

// plainLookup is a look-up that the front answers. The slices share memory with what was read.
type plainLookup struct {
	hostname  []byte
	requestID []byte // empty: none
	size      int    // of the request, in octets
}

var (
	plainBegin = []byte("GET /v1/lookup/")
	plainEnd   = []byte("HTTP/1.1")
	crlf       = []byte("\r\n")
)

// parsePlain reads a request from the beginning of b. It takes only what can be understood in
// one way, and is false for all else, which net/http is to judge: a head that is not all
// there, another line end than CRLF, a character that has a second meaning, and any header
// that is not on the list here. So nothing passes that could announce a body, close the
// connection or make a condition.
func parsePlain(b []byte) (asked plainLookup, ok bool) {
	line, rest, whole := bytes.Cut(b, crlf)
	line, begins := bytes.CutPrefix(line, plainBegin)
	name, version, two := bytes.Cut(line, []byte(" "))
	if !whole || !begins || !two || !bytes.Equal(version, plainEnd) || !all(name, inHostname) {
		return asked, false
	}
	asked.hostname = name
	hosts := 0
	for {
		if line, rest, whole = bytes.Cut(rest, crlf); !whole {
			return asked, false
		}
		if len(line) == 0 {
			asked.size = len(b) - len(rest)
			return asked, hosts == 1 // HTTP/1.1 wants one, and it decides nothing here
		}
		name, value, two := bytes.Cut(line, []byte(":"))
		value = bytes.Trim(value, " \t")
		if !two || !all(value, inValue) {
			return asked, false
		}
		switch {
		case is(name, "host"):
			if hosts++; !all(value, inHost) {
				return asked, false
			}
		case is(name, "user-agent"), is(name, "accept"), is(name, "accept-encoding"), is(name, "accept-language"),
			is(name, "traceparent"), is(name, "tracestate"):
			// They change nothing in the answer. There are no spans where there is a front.
		case is(name, "connection"):
			if !is(value, "keep-alive") {
				return asked, false
			}
		case is(name, "x-request-id"):
			if len(asked.requestID) > 0 || !saneRequestID(string(value)) {
				return asked, false
			}
			asked.requestID = value
		default:
			return asked, false
		}
	}
}

// is compares in ASCII, without regard to case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// all is false for an empty b too.
func all(b []byte, in func(byte) bool) bool {
	for _, c := range b {
		if !in(c) {
			return false
		}
	}
	return len(b) > 0
}

// inHostname has what a normalised hostname is of.
func inHostname(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-'
}

func inHost(c byte) bool {
	return inHostname(c) || c >= 'A' && c <= 'Z' || c == ':' || c == '[' || c == ']'
}

func inValue(c byte) bool { return c >= ' ' && c <= '~' }

// appendPlain is the whole answer to a plain look-up that was read at a time; false where it
// is another than 200, and then nothing was counted.
func (a *API) appendPlain(out []byte, asked plainLookup, read time.Time) ([]byte, bool) {
	h, err := events.ParseHostname(string(asked.hostname))
	if err != nil || a.ready() != nil {
		return out, false
	}
	s := a.stampAt(a.clock())
	doc, err := a.reader.Lookup(h)
	if err != nil {
		return out, false
	}
	out = append(out, "HTTP/1.1 200 OK\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(doc.Body)), 10)
	out = append(out, "\r\nContent-Type: application/json\r\nDate: "...)
	out = append(out, a.dateAt(read)...)
	out = append(out, "\r\nEtag: "...)
	out = append(out, doc.ETag...)
	out = append(out, "\r\nTenantry-Position: "...)
	out = append(out, s.position[0]...)
	if doc.Quarantined {
		out = append(out, "\r\nTenantry-Quarantined: true"...)
	}
	out = append(out, "\r\nTenantry-Region: "...)
	out = append(out, a.region[0]...)
	if s.staleness != nil {
		out = append(out, "\r\nTenantry-Staleness: "...)
		out = append(out, s.staleness[0]...)
	}
	out = append(out, "\r\nTenantry-Version: "...)
	out = append(out, doc.VersionText...)
	if len(asked.requestID) > 0 {
		out = append(out, "\r\nX-Request-Id: "...)
		out = append(out, asked.requestID...)
	}
	out = append(out, "\r\n\r\n"...)
	out = append(out, doc.Body...)
	a.metrics.byHostname.count(outcomeFound)
	a.metrics.seconds.Observe(time.Since(read).Seconds())
	return out, true
}

// date is the header Date of one second.
type date struct {
	second int64
	text   string
}

func (a *API) dateAt(now time.Time) string {
	second := now.Unix()
	if last := a.lastDate.Load(); last != nil && last.second == second {
		return last.text
	}
	next := &date{second: second, text: now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	a.lastDate.Store(next)
	return next.text
}
