package queryapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// status is GET /v1/status: what the node knows of itself, ready or not.
type status struct {
	Region      string                 `json:"region"`
	Node        string                 `json:"node"`
	Ready       bool                   `json:"ready"`
	NotReady    string                 `json:"not_ready,omitzero"`     // why
	NotFollowed string                 `json:"not_following,omitzero"` // why the copy is not kept up to date
	Notice      string                 `json:"notice,omitzero"`        // why it is another generation than the one before the start
	Generation  string                 `json:"generation"`
	StoreID     string                 `json:"store_id"`
	Position    uint64                 `json:"position"`
	StalenessMS *int64                 `json:"staleness_ms"` // nil: not known
	Partitions  []partition            `json:"partitions"`
	Quarantined []readmodel.Quarantine `json:"quarantined"`
	Verified    *Verified              `json:"verified,omitzero"` // nil: not yet
}

// Verified is how the copy's last comparison with the source of truth went.
type Verified struct {
	At        time.Time `json:"at"`
	Result    string    `json:"result"` // equal, different or failed
	Position  uint64    `json:"position"`
	Different int       `json:"different"` // streams that were
	Healed    int       `json:"healed"`    // streams that were folded anew since
	Error     string    `json:"error,omitzero"`
}

type partition struct {
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Position  uint64    `json:"position"`
	Watermark time.Time `json:"watermark,omitzero"`
}

func (a *API) status(c echo.Context) error {
	if _, err := parseQuery(c.Request().URL.RawQuery); err != nil {
		return err
	}
	now := a.clock()
	p := a.reader.Progress()
	s := status{
		Region: a.region[0], Node: a.node, Ready: true, Generation: a.generation(),
		Position: p.Position(), Notice: a.notice(), Verified: a.verified(),
		Partitions: make([]partition, len(p.Partitions)),
	}
	if !p.CompleteAt().IsZero() {
		age := p.Staleness(now).Milliseconds()
		s.StalenessMS = &age
	}
	if err := a.ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
	if err := a.following(); err != nil {
		s.NotFollowed = err.Error()
	}
	if p.StoreID != uuid.Nil {
		s.StoreID = p.StoreID.String()
	}
	for i, part := range p.Partitions {
		s.Partitions[i] = partition{Partition: i, Offset: part.Offset, Position: part.Position, Watermark: part.Watermark}
	}
	var err error
	if s.Quarantined, err = a.reader.Quarantined(c.Request().Context()); err != nil && !unserved(err) {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return sendJSON(c, append(b, '\n'))
}

// sendJSON answers 200 with what was made for this request, or 304. A batch is a read by POST,
// for the length of its question, so that it gets the 304 of a GET and not a 412.
func sendJSON(c echo.Context, body []byte) error {
	r, w := c.Request(), c.Response()
	h := w.Header()
	etag := `"` + strconv.FormatUint(xxhash.Sum64(body), 16) + `"`
	h[headerETag] = []string{etag}
	if matches(r.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = valueJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body) // an error is the client's going away, which is none of ours
	return nil
}
