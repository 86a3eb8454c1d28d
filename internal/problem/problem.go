// Package problem is the shape of every refusal over HTTP: RFC 9457, application/problem+json.
//
// A problem's type never changes once released, since clients branch on it; title and detail
// are for people. Errors name the fields at fault, each by JSON pointer into the request's
// body.
package problem

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// ContentType is the media type of every problem.
const ContentType = "application/problem+json"

// Base is what every type begins with. Types are names, not addresses.
const Base = "https://tenantry.dev/problems/"

// Problem is one refusal. It is an error, so that a handler can return it.
type Problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status,omitzero"` // 0 where the problem is one line's of many
	Detail string  `json:"detail,omitzero"`
	Errors []Field `json:"errors,omitempty"`

	// RequestID is the request's X-Request-Id, by which the log is searched.
	RequestID string `json:"request_id,omitzero"`
	// Hostname and Holder are set where a hostname has another holder.
	Hostname string `json:"hostname,omitzero"`
	Holder   string `json:"holder,omitzero"`
	// CurrentVersion is set where If-Match named another; 0 is a stream that is not there.
	CurrentVersion *uint64 `json:"current_version,omitzero"`
}

// Field says what is wrong with one field.
type Field struct {
	Pointer string `json:"pointer"` // RFC 6901; "" is the whole body
	Detail  string `json:"detail"`
}

// New is a problem of a type, given without [Base].
func New(status int, name, title, detail string) *Problem {
	return &Problem{Type: Base + name, Title: title, Status: status, Detail: detail}
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// JSON is the problem as it is sent.
func (p *Problem) JSON() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		// Strings that are not UTF-8 are all that can go wrong here, and the status and type
		// alone still tell a client what to do.
		b, _ = json.Marshal(&Problem{Type: p.Type, Title: p.Title, Status: p.Status})
	}
	return b
}

// Write sends the problem. It must be the only thing that writes to w.
func (p *Problem) Write(w http.ResponseWriter) error {
	b := append(p.JSON(), '\n')
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, err := w.Write(b)
	return err
}
