package system

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// client asks servers, over connections that it keeps for the length of a test.
type client struct {
	t    *testing.T
	http *http.Client
}

func newClient(t *testing.T) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, http: &http.Client{Transport: transport, Timeout: patience}}
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// try sends a request. header is "Name: value" lines. It may be called from any goroutine.
func (c *client) try(method, url, body string, header ...string) (reply, error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, in)
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, b}, err
}

// send sends a request that has to be answered.
func (c *client) send(method, url, body string, header ...string) reply {
	c.t.Helper()
	r, err := c.try(method, url, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

// must sends a request that has to succeed.
func (c *client) must(method, url, body string, header ...string) reply {
	c.t.Helper()
	r := c.send(method, url, body, header...)
	if r.status >= 300 {
		c.t.Fatalf("%s %s: got %d: %s", method, url, r.status, r.body)
	}
	return r
}

func (c *client) get(url string) reply {
	c.t.Helper()
	return c.send("GET", url, "")
}

// as decodes the body.
func (r reply) as(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// problem is an RFC 9457 answer.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// kind is the last segment of the problem's type.
func (p problem) kind() string { return p.Type[strings.LastIndexByte(p.Type, '/')+1:] }

// lines are the lines of NDJSON.
func lines(b []byte) [][]byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	if len(b) == 0 {
		return nil
	}
	return bytes.Split(b, []byte("\n"))
}
