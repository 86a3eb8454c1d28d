package queryapi

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// subject is whose context is asked for: a hostname's, or else a tenant's.
type subject struct {
	hostname events.Hostname
	tenant   events.TenantID
}

func (s subject) in(r Reader) (*readmodel.Document, error) {
	if s.hostname.IsZero() {
		return r.Tenant(s.tenant)
	}
	return r.Lookup(s.hostname)
}

// lookup is GET /v1/lookup/{hostname}, which nearly all requests are.
func (a *API) lookup(c echo.Context) error {
	began := time.Now()
	s := subject{}
	name, err := pathParam(c, "hostname")
	if err == nil {
		s.hostname, err = events.ParseHostname(name)
	}
	if err != nil {
		return a.invalid(&a.metrics.byHostname, "/hostname", err)
	}
	return a.answer(c, s, &a.metrics.byHostname, began)
}

// tenant is GET /v1/tenants/{id}.
func (a *API) tenant(c echo.Context) error {
	began := time.Now()
	s := subject{}
	name, err := pathParam(c, "id")
	if err == nil {
		s.tenant, err = events.ParseTenantID(name)
	}
	if err != nil {
		return a.invalid(&a.metrics.byTenant, "/id", err)
	}
	return a.answer(c, s, &a.metrics.byTenant, began)
}

// invalid is a look-up of what cannot be there.
func (a *API) invalid(count *outcomes, pointer string, err error) error {
	if errors.Is(err, echo.ErrNotFound) {
		return err
	}
	count.count(outcomeInvalid)
	return invalidAt(pointer, err)
}

// answer looks the subject up, sends what it finds, and counts it.
func (a *API) answer(c echo.Context, s subject, count *outcomes, began time.Time) error {
	doc, err := a.find(c, s)
	what := outcomeFound
	switch {
	case err != nil:
		err = explain(err, s)
		what = outcomeOf(err)
	case send(c, doc):
		what = outcomeUnmodified
	}
	count.count(what)
	if c.Request().URL.RawQuery == "" { // it waited for nothing
		a.metrics.seconds.Observe(time.Since(began).Seconds())
	}
	return err
}

// send answers with the document, or with 304 where the client has it.
func send(c echo.Context, doc *readmodel.Document) (unmodified bool) {
	r, w := c.Request(), c.Response()
	h := w.Header()
	// One array for all values that are this answer's own.
	own := [...]string{doc.ETag, doc.VersionText, ""}
	h[headerETag], h[headerVersion] = own[0:1:1], own[1:2:2]
	if doc.Quarantined {
		h[headerQuarantined] = valueTrue
	}
	if tags := r.Header["If-None-Match"]; len(tags) > 0 && matches(tags, doc.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	own[2] = strconv.Itoa(len(doc.Body))
	h["Content-Length"], h["Content-Type"] = own[2:3:3], valueJSON
	_, _ = w.Write(doc.Body) // an error is the client's going away, which is none of ours
	return false
}

// Values of headers that never differ. Nobody may change them.
var (
	valueTrue    = []string{"true"}
	valueJSON    = []string{"application/json"}
	valueNoStore = []string{"no-store"}
)

// find looks the subject up, after what the request wants to see is there.
func (a *API) find(c echo.Context, s subject) (*readmodel.Document, error) {
	if err := a.ready(); err != nil {
		return nil, notReady(err)
	}
	r := c.Request()
	if r.URL.RawQuery == "" {
		return s.in(a.reader)
	}
	want, err := parseWanted(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if want.nothing() {
		return s.in(a.reader)
	}
	var doc *readmodel.Document
	seen, err := a.await(r.Context(), want, func() (bool, error) {
		var err error
		doc, err = s.in(a.reader)
		if want.version > 0 && errors.Is(err, readmodel.ErrUnknown) {
			return false, nil
		}
		return err != nil || doc.Version >= want.version, err
	})
	seen.write(c.Response().Header(), a.region)
	return doc, err
}

// pathParam is the last segment of the path, unescaped. echo leaves it escaped where the path
// held an escape that matters, and puts further segments into it: they are no such route.
func pathParam(c echo.Context, name string) (string, error) {
	value := c.Param(name)
	if strings.Contains(value, "/") {
		return "", echo.ErrNotFound
	}
	if c.Request().URL.RawPath == "" {
		return value, nil
	}
	plain, err := url.PathUnescape(value)
	if err != nil {
		return "", errors.New("the path holds a broken escape: write % as %25")
	}
	return plain, nil
}

// matches tells whether If-None-Match lists this entity tag, or any. A weak one matches too,
// since proxies that compress weaken ours on the way.
func matches(values []string, etag string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}
