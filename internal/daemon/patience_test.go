package daemon

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// speak sends octets over a connection of its own and returns what is answered, while the
// connection stays open.
func speak(t *testing.T, url, octets string) (*http.Response, error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, octets); err != nil {
		t.Fatal(err)
	}
	return http.ReadResponse(bufio.NewReader(c), nil)
}

func TestPatient_OfABodyThatDoesNotCome_TheReadingFails(t *testing.T) {
	var failed error
	web := httptest.NewServer(patient(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, failed = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusRequestTimeout)
	}), 20*time.Millisecond))
	defer web.Close()
	for name, request := range map[string]string{
		"a length": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
		"chunks":   "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		answer, err := speak(t, web.URL, request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = answer.Body.Close()
		if failed == nil || answer.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: the body was read to its end: %v, %s", name, failed, answer.Status)
		}
	}
}

func TestPatient_OnceTheBodyIsThere_TheHandlerTakesItsTime(t *testing.T) {
	const limit = 50 * time.Millisecond
	web := httptest.NewServer(patient(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		late := time.NewTimer(2 * limit)
		defer late.Stop()
		select {
		case <-r.Context().Done():
			t.Error("the request was broken off while it was served")
		case <-late.C:
		}
	}), limit))
	defer web.Close()
	answer, err := speak(t, web.URL, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("got %s", answer.Status)
	}
}
