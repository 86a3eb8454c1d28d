package schemas_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestDocs_ServesTheDocumentThePageAndItsParts(t *testing.T) {
	docs := schematest.Validate(t, schemas.QueryOpenAPI)(schemas.Docs("A <title>", schemas.QueryOpenAPI))
	serve := func(method, path, ifNoneMatch string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		if ifNoneMatch != "" {
			r.Header.Set("If-None-Match", ifNoneMatch)
		}
		w := httptest.NewRecorder()
		docs.ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct{ path, contentType, contains string }{
		{"/openapi.yaml", "application/yaml", "openapi: 3.1.0"},
		{"/docs", "text/html; charset=utf-8", "<title>A &lt;title&gt;</title>"},
		{"/docs/page.js", "text/javascript; charset=utf-8", "SwaggerUIBundle"},
		{"/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", "SwaggerUIBundle"},
		{"/docs/swagger-ui.css", "text/css; charset=utf-8", ".swagger-ui"},
		{"/docs/LICENSE", "text/plain; charset=utf-8", "Apache License"},
	} {
		w := serve(http.MethodGet, c.path, "")
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != c.contentType || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("GET %s: got %d, %s, %d octets, want 200, %s, with %q", c.path, w.Code, got, w.Body.Len(), c.contentType, c.contains)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s: got policy %q, want a strict one", c.path, csp)
		}
		if w := serve(http.MethodGet, c.path, `W/"x", `+w.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("GET %s with its ETag: got %d with %d octets, want 304 with none", c.path, w.Code, w.Body.Len())
		}
		if w := serve(http.MethodHead, c.path, ""); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: got %d, want 200", c.path, w.Code)
		}
	}
	for _, path := range []string{"/docs/none.js", "/docs/", "/docs/../docs.go", "/elsewhere"} {
		if w := serve(http.MethodGet, path, ""); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: got %d, want 404", path, w.Code)
		}
	}
	if w := serve(http.MethodPost, "/docs", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /docs: got %d, Allow %q, want 405, GET, HEAD", w.Code, w.Header().Get("Allow"))
	}
	if got := serve(http.MethodGet, "/openapi.yaml", "").Body.Bytes(); !bytes.Equal(got, schemas.QueryOpenAPI) {
		t.Error("the document is not served as it is")
	}
}
