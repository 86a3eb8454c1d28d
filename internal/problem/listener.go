package problem

import (
	"bytes"
	"net"
	"net/http"
	"strconv"

	"github.com/google/uuid"
)

// Listener is l with answers as problems where net/http answers by itself, in plain text: to what
// it cannot read as a request, whose headers are too large, or which wants what it does not do.
// No handler is ever asked about those. net/http closes the connection after each.
//
// It knows them by how net/http writes them, in one piece and past its own buffers. Should that
// change, they are plain text again, and a test says so.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept is the next connection.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

type conn struct{ net.Conn }

var (
	httpVersion = []byte("HTTP/1.1 ")
	plainText   = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
)

// Write sends b, or a problem in its place.
func (c conn) Write(b []byte) (int, error) {
	// What a handler sends has its headers in the order of their names, so that these two never
	// come first; and no handler of ours sends an error as plain text and closes.
	line, text, found := bytes.Cut(b, plainText)
	if !found || !bytes.HasPrefix(line, httpVersion) || bytes.Contains(line, []byte("\n")) {
		return c.Conn.Write(b)
	}
	code, _, _ := bytes.Cut(line[len(httpVersion):], []byte(" "))
	status, err := strconv.Atoi(string(code))
	if err != nil || status < http.StatusBadRequest {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(refusal(status, string(text))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite lets net/http end an answer before it has read the whole request.
func (c conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// refusal is the whole answer to a request that no handler gets to see.
func refusal(status int, text string) []byte {
	detail := "send HTTP/1.1 as RFC 9112 writes it: " + text
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		detail = "the request's line and headers are too large: send less of them"
	case http.StatusNotImplemented:
		detail = "send the body with Content-Length, or with Transfer-Encoding: chunked and no other"
	case http.StatusHTTPVersionNotSupported:
		detail = "send HTTP/1.1"
	}
	p := New(status, "bad-request", "A parameter or header is not what it should be", detail)
	p.RequestID = uuid.NewString()
	body := append(p.JSON(), '\n')
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	for _, h := range [...][2]string{
		{"Cache-Control", "no-store"},
		{"Connection", "close"},
		{"Content-Length", strconv.Itoa(len(body))},
		{"Content-Type", ContentType},
		{"X-Request-Id", p.RequestID},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
