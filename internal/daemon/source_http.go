package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/tenantry/tenantry/events/remote"
)

// Trust says whom to trust, and how to say who asks, where a source is a catalogue behind https.
type Trust struct {
	CAFile    string // PEM of who may sign the catalogue's certificate; "": whom the system trusts
	TokenFile string // has the bearer token to send, and is read again at each request; "": none is sent
}

// overHTTP is how a catalogue is read.
func (s Source) overHTTP(u *url.URL) (remote.Config, error) {
	cfg := remote.Config{URL: s.URL, TempDir: s.TempDir}
	if err := s.Trust.fits(u.Scheme); err != nil {
		return cfg, err
	}
	if s.Trust.CAFile != "" {
		pem, err := os.ReadFile(s.Trust.CAFile)
		if err != nil {
			return cfg, fmt.Errorf("--source-ca-file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("--source-ca-file: %s has no certificate in it: it has to be PEM", s.Trust.CAFile)
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if s.Trust.TokenFile != "" {
		cfg.Token = func(context.Context) (string, error) { return readToken(s.Trust.TokenFile) }
		if _, err := readToken(s.Trust.TokenFile); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// fits refuses what another kind of source has no use for.
func (t Trust) fits(scheme string) error {
	switch {
	case t == Trust{} || scheme == "https":
		return nil
	case scheme == "http" && t.TokenFile != "":
		return errors.New("--source-token-file: over http:// everybody on the way could read the token: use https://")
	case scheme == "http":
		return errors.New("--source-ca-file is for https://, and --source is http://")
	}
	return errors.New("--source-ca-file and --source-token-file are for a catalogue at https://; a database's URL has sslrootcert, and --database-password-file")
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--source-token-file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("--source-token-file: %s has to have one token in it, and nothing else", file)
	}
	return token, nil
}
