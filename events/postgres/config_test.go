package postgres_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events/postgres"
)

func TestOpen_URLThatIsNotValid_IsRefusedWithoutAnyPartOfThePassword(t *testing.T) {
	for _, url := range []string{
		"",
		"postgres://user:hun/ter2@host/db",
		"postgres://user:hun#ter2@host/db",
		"postgres://user:hun%ter2@host/db",
		"postgres://user:hun?ter2@host/db",
		"postgres://user:hunter2@host:port/db",
		"postgres://user:hunter2@host/db?sslmode=perhaps",
		"postgres://user@host/db?password=hunter2&connect_timeout=never",
		"host=h port=x user=u password=hunter2",
		"host=h password='hunter2",
		"hunter2",
	} {
		var logged bytes.Buffer
		cfg := patient(url)
		cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		_, err := postgres.Open(t.Context(), cfg)
		if err == nil {
			t.Errorf("%q: got a store", url)
			continue
		}
		for _, part := range []string{"hun", "ter2"} {
			if strings.Contains(err.Error()+logged.String(), part) {
				t.Errorf("%q: the error tells of the password: %v", url, err)
			}
		}
		_, err = postgres.Migrate(t.Context(), postgres.MigrateConfig{Config: cfg})
		if err == nil || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%q: migrate: got %v", url, err)
		}
	}
}

func TestOpen_PasswordFile_IsReadAtEachConnection(t *testing.T) {
	_, writer, _ := roles(t)
	name, password := filepath.Join(t.TempDir(), "password"), "secret-of-writer"
	cfg := patient(strings.Replace(writer, password, "another", 1))
	if cfg.URL == writer {
		t.Fatal("the URL has no password")
	}
	cfg.PasswordFile = name
	if _, err := postgres.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("open without the file: got %v, want an error that names it", err)
	}
	if err := os.WriteFile(name, []byte(password+"\nsomething else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, cfg)
	if _, err := s.Append(t.Context(), registration(t, 1)); err != nil {
		t.Errorf("append: %v", err)
	}
	_, release := lead(t, s)
	release()
}
