package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events/postgres"
)

// certificate writes one for 127.0.0.1 that it has signed itself, and its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shape := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tenantry test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, shape, shape, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen_TLSAsTheURLSays(t *testing.T) {
	server, plain := ownServer(t)
	serverCert, serverKey := filepath.Join(server.Dir(), "server.crt"), filepath.Join(server.Dir(), "server.key")
	certificate(t, serverCert, serverKey)
	// The server reads them as whoever owns its directory.
	info, err := os.Stat(server.Dir())
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // on every Unix
	for _, name := range []string{serverCert, serverKey} {
		if err := os.Chown(name, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, plain, `ALTER SYSTEM SET ssl = on`, `SELECT pg_reload_conf()`)
	trusted, other := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "other.pem")
	text, err := os.ReadFile(serverCert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trusted, text, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate(t, other, filepath.Join(t.TempDir(), "other.key"))

	with := func(mode, root string) postgres.Config {
		u, err := url.Parse(plain)
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = url.Values{"sslmode": {mode}, "sslrootcert": {root}}.Encode()
		return patient(u.String())
	}
	eventually(t, "the server speaks TLS", func() error { return postgres.CheckSchema(t.Context(), with("require", trusted)) })
	s := open(t, with("verify-full", trusted))
	if _, err := s.Append(t.Context(), registration(t, 1)); err != nil {
		t.Errorf("append: %v", err)
	}
	if got := ask(t, plain, `SELECT count(*)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tenantry' AND NOT ssl`); got != "0" {
		t.Errorf("connections without TLS: got %s, want 0", got)
	}
	if _, err := postgres.Open(t.Context(), with("verify-full", other)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("open with another's certificate: got %v, want it refused", err)
	}
}
