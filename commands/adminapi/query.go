package adminapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// query is the query string of a request, of which every parameter is known and given once.
type query url.Values

// queryOf refuses a parameter that the route does not have: a misspelled dry_run must not become a
// command that is carried out.
func queryOf(c echo.Context, known ...string) (query, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query string cannot be read: escape its parameters")
	}
	for name, v := range values {
		switch {
		case len(known) == 0:
			return nil, badRequest("there is no parameter %.40q here, nor any other: leave it out", name)
		case !slices.Contains(known, name):
			return nil, badRequest("there is no parameter %.40q here, only %s: correct its name or leave it out", name, strings.Join(known, ", "))
		case len(v) > 1:
			return nil, badRequest("the parameter %s is given %d times: give it once", name, len(v))
		}
	}
	return query(values), nil
}

func (q query) get(name string) string { return url.Values(q).Get(name) }
func (q query) has(name string) bool   { return url.Values(q).Has(name) }

// boolean is true for true and for a bare name, false for false and when absent.
func (q query) boolean(name string) (bool, error) {
	switch v := q.get(name); {
	case !q.has(name), v == "false":
		return false, nil
	case v == "true", v == "":
		return true, nil
	default:
		return false, badRequest("%s is %.40q: give true or false", name, v)
	}
}

// number is a whole number from least to most, and what to take when absent.
func (q query) number(name string, least, most, absent uint64) (uint64, error) {
	if !q.has(name) {
		return absent, nil
	}
	n, err := strconv.ParseUint(q.get(name), 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s is %.40q: give a whole number from %d to %d", name, q.get(name), least, most)
	}
	return n, nil
}

// instant is an RFC 3339 time; the zero time when absent.
func (q query) instant(name string) (time.Time, error) {
	if !q.has(name) {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, q.get(name))
	switch {
	case err != nil && strings.Contains(q.get(name), " "):
		return time.Time{}, badRequest("%s is %.40q: write the + of its offset as %%2B, or give it in UTC with a Z", name, q.get(name))
	case err != nil || t.IsZero():
		return time.Time{}, badRequest("%s is %.40q: give a time as RFC 3339 writes it, such as 2027-01-31T12:00:00Z", name, q.get(name))
	}
	return t.UTC(), nil
}

// The sizes of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is which page of a list is asked for.
type page struct {
	size   int
	cursor string // the last item of the page before; "" on the first page
	scope  string // of the list and its filters, which a token is bound to
}

// pageOf reads page_size and page_token. The scope names the list with its filters.
func (q query) pageOf(scope string) (page, error) {
	size, err := q.number("page_size", 1, maxPage, defaultPage)
	if err != nil {
		return page{}, err
	}
	sum := sha256.Sum256([]byte(scope))
	p := page{size: int(size), scope: string(sum[:6])}
	if token := q.get("page_token"); token != "" {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
		if err != nil || len(raw) < len(p.scope) || string(raw[:len(p.scope)]) != p.scope {
			return page{}, badRequest("page_token belongs to no such list: send next_page_token as it was answered, with the same filters, or begin without it")
		}
		p.cursor = string(raw[len(p.scope):])
	}
	return p, nil
}

// next is the token of the page after the item that the cursor names.
func (p page) next(cursor string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.scope + cursor))
}
