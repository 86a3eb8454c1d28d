package adminapi

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// maxBody is the most octets that a request's body, or one line of an import, may have.
const maxBody = 1 << 20

// maxNote is the most characters of an actor or a reason.
const maxNote = 500

// The headers of this API.
const (
	headerActor     = "Tenantry-Actor"
	headerReason    = "Tenantry-Reason"
	headerPosition  = "Tenantry-Position"
	headerToken     = "Tenantry-Token"
	headerStoreID   = "Tenantry-Store-Id"
	headerKey       = "Idempotency-Key"
	headerReplayed  = "Idempotency-Replayed"
	headerRequestID = "X-Request-Id"
)

// request is what a command's HTTP request says besides the command itself.
type request struct {
	c          echo.Context
	body       []byte
	dryRun     bool
	ifMatch    *uint64
	anyVersion bool // If-Match: *, which any stream meets that is there
	key        *events.Key
	meta       events.Metadata
	subject    string // the name in the path that the command checks, such as a product's
}

// newRequest reads everything that all commands have in common, and the body, if it takes one.
func newRequest(c echo.Context, takesBody bool, now time.Time) (*request, error) {
	query, err := queryOf(c, "dry_run")
	if err != nil {
		return nil, err
	}
	q := &request{c: c}
	if q.dryRun, err = query.boolean("dry_run"); err != nil {
		return nil, err
	}
	header := c.Request().Header
	if q.ifMatch, q.anyVersion, err = parseIfMatch(header.Values("If-Match")); err != nil {
		return nil, err
	}
	if q.meta, err = metadataOf(c); err != nil {
		return nil, err
	}
	if q.key, err = parseKey(header.Values(headerKey)); err != nil {
		return nil, err
	}
	if takesBody {
		q.body, err = readBody(c)
	} else {
		err = refuseBody(c.Request())
	}
	if err != nil {
		return nil, err
	}
	if q.key != nil {
		q.key.Fingerprint = fingerprint(c.Request(), q.body)
		q.key.Time = now
	}
	return q, nil
}

// metadataOf is who asks, why, and under which request and trace.
func metadataOf(c echo.Context) (events.Metadata, error) {
	actor, err := textHeader(c, headerActor)
	if err != nil {
		return events.Metadata{}, err
	}
	reason, err := textHeader(c, headerReason)
	if err != nil {
		return events.Metadata{}, err
	}
	return events.Metadata{
		Actor:         actor,
		Reason:        reason,
		CorrelationID: requestID(c),
		Traceparent:   traceparent(c.Request().Context()),
	}, nil
}

// textHeader is a header of free text, which is UTF-8.
func textHeader(c echo.Context, name string) (string, error) {
	values := c.Request().Header.Values(name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", badRequest("the header %s is given %d times: give it once", name, len(values))
	case !utf8.ValidString(values[0]):
		return "", badRequest("the header %s is not UTF-8: send it as UTF-8", name)
	case utf8.RuneCountInString(values[0]) > maxNote:
		return "", badRequest("the header %s has more than %d characters: make it shorter", name, maxNote)
	case strings.ContainsFunc(values[0], unicode.IsControl):
		return "", badRequest("the header %s has a control character in it: take it out", name)
	}
	return values[0], nil
}

// object reads the body as the JSON object that a command is given by.
func (q *request) object() (*strictjson.Object, error) { return strictjson.Parse(q.body) }

// objectOn is the ID in the path of what a command is for, and the body.
func objectOn[T any](q *request, parse func(string) (T, error)) (id T, o *strictjson.Object, err error) {
	if id, err = pathValue(q.c, "id", parse); err != nil {
		return id, nil, err
	}
	o, err = q.object()
	return id, o, err
}

// name is a name in the path, which the command itself checks.
func (q *request) name(param string) (string, error) {
	q.subject = param
	return pathParam(q.c, param)
}

// inPath points a command's refusal to the name in the path, where no field of the body is at
// fault.
func (q *request) inPath(err error) error {
	r, ok := errors.AsType[*commands.Refusal](err)
	if !ok || r.Code != commands.Invalid || len(r.Fields) > 0 || q.subject == "" {
		return err
	}
	at := *r
	at.Fields = []commands.FieldError{{Pointer: "/" + q.subject, Detail: r.Detail}}
	return &at
}

// reasonOnly reads the body of a command that takes none but may carry {"reason"}; it wins over the
// header, since it was written for this command.
func (q *request) reasonOnly() error {
	if len(q.body) == 0 {
		return nil
	}
	o, err := q.object()
	if err != nil {
		return err
	}
	if reason, ok := o.String("reason"); ok {
		q.meta.Reason = reason
	}
	return o.Err()
}

// readBody reads a JSON body of at most maxBody octets.
func readBody(c echo.Context) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > maxBody {
		return nil, errTooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge()
	case err != nil:
		return nil, bodyError(err)
	case len(body) == 0:
		return nil, nil
	}
	return body, checkContentType(r, "application/json", "application/merge-patch+json")
}

// refuseBody is for DELETE, where a body has no meaning and may be lost on the way.
func refuseBody(r *http.Request) error {
	n, err := io.ReadFull(r.Body, make([]byte, 1))
	switch {
	case n > 0:
		return badRequest("a %s takes no body: give the reason in the header %s", r.Method, headerReason)
	case !errors.Is(err, io.EOF): // one is announced, and does not come
		return bodyError(err)
	}
	return nil
}

// checkContentType refuses a body that says it is something else. One that says nothing is
// taken for the first of the types, as there is nothing else it could be meant for.
func checkContentType(r *http.Request, types ...string) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return errUnsupported(fmt.Sprintf("the body is encoded as %.40q: send it as it is, without Content-Encoding", encoding))
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(given)
	switch {
	case err != nil:
		return errUnsupported(fmt.Sprintf("the Content-Type %.60q cannot be read: send Content-Type: %s", given, types[0]))
	case media == "application/x-www-form-urlencoded":
		return errUnsupported(fmt.Sprintf("the body is sent as %s, as curl -d does by default: add -H 'Content-Type: %s'", media, types[0]))
	case !slices.Contains(types, media):
		return errUnsupported(fmt.Sprintf("the body is sent as %.60s: send Content-Type: %s", media, types[0]))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return errUnsupported(fmt.Sprintf("the body is sent in %.40q: send it as UTF-8", charset))
	}
	return nil
}

// parseIfMatch reads one entity tag as this API makes them. A weak one is taken too, since proxies
// that compress weaken ours on the way.
func parseIfMatch(values []string) (version *uint64, anyVersion bool, err error) {
	s := strings.TrimSpace(strings.Join(values, ","))
	switch {
	case len(values) == 0:
		return nil, false, nil
	case s == "*":
		return nil, true, nil
	}
	tag, opened := strings.CutPrefix(strings.TrimPrefix(s, "W/"), `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	n, perr := strconv.ParseUint(tag, 10, 64)
	if !opened || !closed || perr != nil {
		return nil, false, badRequest(`If-Match is %.60q: send one ETag as it was answered, such as "7", or *`, s)
	}
	return &n, false, nil
}

// matchesNone tells whether If-None-Match lists this entity tag, or any.
func matchesNone(values []string, etag string) bool {
	for s := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if s = strings.TrimSpace(s); s == "*" || strings.TrimPrefix(s, "W/") == etag {
			return true
		}
	}
	return false
}

func etagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// parseKey reads the idempotency key: 1 to 255 visible ASCII characters.
func parseKey(values []string) (*events.Key, error) {
	if len(values) == 0 {
		return nil, nil
	}
	key := values[0]
	visible := !strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' })
	if len(values) > 1 || key == "" || len(key) > 255 || !visible {
		return nil, badRequest("%s has to be 1 to 255 visible ASCII characters, given once: send a UUID, for example", headerKey)
	}
	return &events.Key{Key: key}, nil
}

// fingerprint tells two commands with one key apart: method, path, query and body. Whether it was a
// dry run is left out, so that what was tried may then be done under the same key.
func fingerprint(r *http.Request, body []byte) [32]byte {
	query := r.URL.Query()
	query.Del("dry_run")
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.Path), []byte(query.Encode()), body} {
		// The length in front keeps "ab"+"c" and "a"+"bc" apart.
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		_, _ = h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// pathParam is a segment of the path, unescaped. echo leaves it escaped where the path held an
// escape that matters.
func pathParam(c echo.Context, name string) (string, error) {
	value := c.Param(name)
	if c.Request().URL.RawPath != "" {
		plain, err := url.PathUnescape(value)
		if err != nil {
			return "", badRequest("the path holds a broken escape: write %% as %%25")
		}
		value = plain
	}
	if !utf8.ValidString(value) {
		return "", badRequest("the path is not UTF-8: escape it as UTF-8")
	}
	return value, nil
}

// pathValue is a segment of the path as its type; parse's error is the sentence reported.
func pathValue[T any](c echo.Context, name string, parse func(string) (T, error)) (T, error) {
	var zero T
	s, err := pathParam(c, name)
	if err != nil {
		return zero, err
	}
	t, err := parse(s)
	if err != nil {
		return zero, invalid("/"+name, "%s", err)
	}
	return t, nil
}
