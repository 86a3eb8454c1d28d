package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/problem"
)

func TestServers_OfWhatIsNoHTTP_AnswerAProblem(t *testing.T) {
	d := open(t, config(t.TempDir()))
	urls := []string{d.Addresses().Admin}
	for _, url := range d.Addresses().Regions {
		urls = append(urls, url)
	}
	for _, url := range urls {
		for octets, status := range map[string]int{
			"rubbish\r\n\r\n": http.StatusBadRequest,
			"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 128<<10): http.StatusRequestHeaderFieldsTooLarge,
		} {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			// A server that has seen enough may answer before it has read all.
			writing := make(chan struct{})
			go func() {
				defer close(writing)
				_, _ = io.WriteString(c, octets)
			}()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%s: %.30q: %v", url, octets, err)
			}
			if res.StatusCode != status || res.Header.Get("Content-Type") != problem.ContentType {
				t.Errorf("%s: %.30q is answered %s with %v", url, octets, res.Status, res.Header)
			}
			_ = res.Body.Close()
			_ = c.Close()
			<-writing
		}
	}
}

func TestDev_OnLoopback_TakesNoCommandUnderAnotherName(t *testing.T) {
	d := open(t, config(t.TempDir()))
	for host, want := range map[string]int{"evil.example": http.StatusForbidden, "localhost": http.StatusCreated} {
		const body = `{"id":"grp_early","name":"Early","ring":1}`
		answer, err := speak(t, d.Addresses().Admin, fmt.Sprintf("POST /v1/groups HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nContent-Length: %d\r\n\r\n%s", host, host, len(body), body))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: got %s, want %d", host, answer.Status, want)
		}
	}
}
