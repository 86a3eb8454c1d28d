package schemas

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed docs/page.html docs/assets
var viewer embed.FS

// policy lets the page load from its own server and from nowhere else. Swagger UI needs no
// inline script, no inline style and no eval; its icons are data: URLs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes of what the handler serves, by extension. They are not left to the machine's
// own table of types.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".txt": "text/plain; charset=utf-8",
	"":     "text/plain; charset=utf-8", // LICENSE and NOTICE
}

// Docs serves an OpenAPI document at /openapi.yaml, a page that shows it at /docs, and what the
// page needs below /docs/. The page works behind a path prefix, and loads nothing from elsewhere.
func Docs(title string, spec []byte) http.Handler {
	page := strings.ReplaceAll(string(asset("page.html")), "{{title}}", html.EscapeString(title))
	served := map[string]file{
		"/openapi.yaml": newFile("application/yaml", spec),
		"/docs":         newFile("text/html; charset=utf-8", []byte(page)),
	}
	entries, _ := viewer.ReadDir("docs/assets") // cannot fail: it is in the program
	for _, e := range entries {
		served["/docs/"+e.Name()] = newFile(contentTypes[path.Ext(e.Name())], asset("assets/"+e.Name()))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := served[r.URL.Path]
		switch {
		case !ok:
			refuse(w, http.StatusNotFound, "no-such-route", "There is nothing at this path", "the page itself is at /docs")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "method-not-allowed", "The path does not take this method", "use GET")
		default:
			f.ServeHTTP(w, r)
		}
	})
}

// asset is a part of the viewer, which cannot be missing: it is in the program.
func asset(name string) []byte {
	content, err := viewer.ReadFile("docs/" + name)
	if err != nil {
		panic(err)
	}
	return content
}

// file is one document, as it is sent.
type file struct {
	contentType string
	content     []byte
	etag        string
}

func newFile(contentType string, content []byte) file {
	sum := sha256.Sum256(content)
	return file{contentType: contentType, content: content, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
}

func (f file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache") // a copy may be kept, and is asked about each time
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	_, _ = w.Write(f.content) // an error is the client's going away
}

// refuse answers a problem (RFC 9457) made of plain words.
func refuse(w http.ResponseWriter, status int, name, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"type":"https://tenantry.dev/problems/` + name + `","title":"` + title + `","status":` +
		strconv.Itoa(status) + `,"detail":"` + detail + `"}` + "\n"))
}
