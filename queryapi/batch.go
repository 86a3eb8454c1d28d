package queryapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
	"github.com/tenantry/tenantry/projections/readmodel"
)

const (
	maxBody  = 1 << 20 // octets of a request's body
	maxBatch = 1000    // hostnames of a batch
)

// lookupAll is POST /v1/lookup. One hostname's fault is that item's, and the others are answered.
func (a *API) lookupAll(c echo.Context) error {
	names, err := readBatch(c)
	if err != nil {
		return err
	}
	a.metrics.batch.Observe(float64(len(names)))
	if err := a.ready(); err != nil {
		return notReady(err)
	}
	want, err := parseWanted(c.Request().URL.RawQuery)
	switch {
	case err != nil:
		return err
	case want.version > 0:
		return kindBadRequest.problem("min_version is of one tenant, and a batch asks for many: leave it out, or ask with at_least")
	case !want.nothing():
		seen, err := a.await(c.Request().Context(), want, func() (bool, error) { return true, nil })
		seen.write(c.Response().Header(), a.region)
		if err != nil {
			return explain(err, subject{})
		}
	}
	items := make([]item, len(names))
	for i, name := range names {
		if items[i], err = a.item(name); err != nil {
			return err
		}
	}
	return a.sendItems(c, items)
}

// readBatch reads {"hostnames": […]}. What the strings are is each item's own matter.
func readBatch(c echo.Context) ([]string, error) {
	body, err := readBody(c)
	if err != nil {
		return nil, err
	}
	o, err := strictjson.Parse(body)
	if err != nil {
		return nil, err
	}
	o.Require("hostnames")
	names, _ := strictjson.Texts(o, "hostnames", func(s string) (string, error) { return s, nil })
	if len(names) > maxBatch {
		o.Fault("hostnames", "%d hostnames are asked for: ask for at most %d at a time", len(names), maxBatch)
	}
	return names, o.Err()
}

// readBody reads a JSON body. One that does not say what it is, is taken for JSON.
func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if err != nil {
		return nil, bodyError(err)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, kindUnsupported.problem("the body is encoded as %.40q: send it as it is, without Content-Encoding", encoding)
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return body, nil
	}
	media, params, err := mime.ParseMediaType(given)
	if charset := params["charset"]; err != nil || media != "application/json" || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return nil, kindUnsupported.problem("the body is sent as %.60q: send Content-Type: application/json, in UTF-8", given)
	}
	return body, nil
}

// item is what became of one hostname of a batch: a document, or else a problem.
type item struct {
	asked   string
	doc     *readmodel.Document
	problem *problem.Problem
}

// item looks one hostname up. An error is one that ends the batch.
func (a *API) item(name string) (item, error) {
	h, err := events.ParseHostname(name)
	if err != nil {
		a.metrics.inBatch.count(outcomeInvalid)
		return item{asked: name, problem: kindInvalid.item(err.Error())}, nil
	}
	doc, err := a.reader.Lookup(h)
	switch {
	case err == nil:
		a.metrics.inBatch.count(outcomeFound)
		return item{asked: name, doc: doc}, nil
	case errors.Is(err, readmodel.ErrUnknown):
		a.metrics.inBatch.count(outcomeUnknown)
		return item{asked: name, problem: kindUnknownHostname.item(fmt.Sprintf("no tenant has %s at the position that Tenantry-Position tells", h))}, nil
	case unserved(err):
		return item{}, notReady(err)
	}
	// A damaged record: the others are well.
	a.metrics.inBatch.count(outcomeFailed)
	a.log.Error("look-up failed", "hostname", h, "err", err)
	return item{asked: name, problem: kindInternal.item("the node's log tells what: ask another node, or again")}, nil
}

// sendItems puts the answer together from the documents' bytes.
func (a *API) sendItems(c echo.Context, items []item) error {
	size := len("[]\n")
	for _, it := range items {
		size += len(`{"hostname":"","context":},`) + len(it.asked)
		if it.doc != nil {
			size += len(it.doc.Body)
		} else {
			size += 256 // a problem, roughly
		}
	}
	b := append(make([]byte, 0, size), '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"hostname":`...)
		var err error
		if b, err = jsontext.AppendQuote(b, it.asked); err != nil {
			return err // no string that was read from JSON
		}
		if it.problem != nil {
			b = append(b, `,"error":`...)
			b = append(b, it.problem.JSON()...)
		} else {
			b = append(b, `,"context":`...)
			b = append(b, it.doc.Body...)
			if it.doc.Quarantined {
				c.Response().Header()[headerQuarantined] = valueTrue
			}
		}
		b = append(b, '}')
	}
	return sendJSON(c, append(b, ']', '\n'))
}
