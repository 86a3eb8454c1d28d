package daemon

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// bodyTime is how long the body of a request may take to arrive. An import gives itself more.
const bodyTime = 30 * time.Second

// patient has the reading of a request's body fail once it takes too long. Without it a client
// that announces a body and sends none would hold its connection for ever. It is no ReadTimeout
// of http.Server, which would count the time that a handler takes as well.
func patient(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(limit))
			r.Body = &timedBody{ReadCloser: r.Body, control: control}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody ends the limit with the body. It stays where the body has not come: net/http reads
// the rest before it goes on to the next request.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		// net/http reads on behind the body, and would take the deadline for the client's leaving.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
