package daemon

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// secured is a catalogue's head behind TLS and a token, as a proxy gives it, and the file of who signed its
// certificate.
func secured(t *testing.T, token string) (url, caFile string, store uuid.UUID) {
	t.Helper()
	store = uuid.New()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Tenantry-Position", "42")
		w.Header().Set("Tenantry-Store-Id", store.String())
	}))
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, caFile, store
}

func opening(t *testing.T) *process {
	t.Helper()
	p := &process{telemetry: Telemetry{Log: silent}}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestSource_BehindTLSAndAToken_IsRead(t *testing.T) {
	url, ca, store := secured(t, "first")
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("expired\n")
	given := Source{URL: url, Trust: Trust{CAFile: ca, TokenFile: token}}
	source, err := opening(t).openSource(given)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Head(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with an old token: got %v, want 401", err)
	}
	write("first\n") // renewed while the node runs
	if head, err := source.Head(t.Context()); err != nil || head.Position != 42 || head.StoreID != store {
		t.Errorf("got %+v, %v", head, err)
	}
	strange := Source{URL: url, Trust: Trust{TokenFile: token}}
	source, err = opening(t).openSource(strange)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Head(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: got %v, want that the certificate is not trusted", err)
	}
}

func TestSource_WhatDoesNotFit_IsRefusedSayingWhatToDo(t *testing.T) {
	dir := t.TempDir()
	empty, token := filepath.Join(dir, "empty"), filepath.Join(dir, "token")
	for name, text := range map[string]string{empty: "\n", token: "secret"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, s := range map[string]Source{
		"use https://":                   {URL: "http://catalogue.example", Trust: Trust{TokenFile: token}},
		"--source is http://":            {URL: "http://catalogue.example", Trust: Trust{CAFile: token}},
		"sslrootcert":                    {URL: "postgres://db.example/tenantry", Trust: Trust{CAFile: token}},
		"has no certificate in it":       {URL: "https://catalogue.example", Trust: Trust{CAFile: token}},
		"no such file":                   {URL: "https://catalogue.example", Trust: Trust{CAFile: filepath.Join(dir, "none")}},
		"has to have one token":          {URL: "https://catalogue.example", Trust: Trust{TokenFile: empty}},
		"token-file: open " + dir + "/x": {URL: "https://catalogue.example", Trust: Trust{TokenFile: dir + "/x"}},
	} {
		if _, err := opening(t).openSource(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: got %v, want %q", s, err, want)
		}
	}
}
