package queryapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// The headers of this API, as net/http spells them: they go into the map as they are.
const (
	headerETag        = "Etag"
	headerVersion     = "Tenantry-Version"
	headerPosition    = "Tenantry-Position"
	headerRegion      = "Tenantry-Region"
	headerStaleness   = "Tenantry-Staleness"
	headerQuarantined = "Tenantry-Quarantined"
	headerRequestID   = "X-Request-Id"
)

// stamp is what answers say about the copy they come from. It is formatted once per commit
// and millisecond, not per answer: at 50,000 look-ups a second that is one in fifty.
type stamp struct {
	progress   *readmodel.Progress
	completeAt time.Time
	age        int64 // milliseconds
	position   []string
	staleness  []string // nil: not known
}

// What a stamp's age can be besides a number of milliseconds.
const (
	ageUnset   = int64(-1)
	ageUnknown = int64(-2) // the copy was never known to hold everything
)

// stampAt is the stamp for an answer whose look-up has not begun.
func (a *API) stampAt(now time.Time) *stamp {
	p := a.reader.Progress()
	last := a.lastStamp.Load()
	if last == nil || last.progress != p {
		last = &stamp{
			progress:   p,
			completeAt: p.CompleteAt(),
			age:        ageUnset,
			position:   []string{strconv.FormatUint(p.Position(), 10)},
		}
	}
	age := ageUnknown
	if !last.completeAt.IsZero() {
		age = max(0, now.Sub(last.completeAt)).Milliseconds()
	}
	if age == last.age {
		return last
	}
	next := *last
	next.age, next.staleness = age, nil
	if age != ageUnknown {
		next.staleness = []string{strconv.FormatInt(age, 10)}
	}
	a.lastStamp.Store(&next)
	return &next
}

// write sets the headers. Their values are shared by many answers, so nobody may change them
// in place.
func (s *stamp) write(h http.Header, region []string) {
	h[headerPosition] = s.position
	if s.staleness == nil {
		delete(h, headerStaleness)
	} else {
		h[headerStaleness] = s.staleness
	}
	h[headerRegion] = region
}
