package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// dialFunc opens a connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// secured puts TLS on top of what dial opens, and says what to do when that does not work. It
// does so itself, below kafka-go, which would keep the files of the first connection.
func secured(dial dialFunc, files *tlsFiles) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if files == nil {
			return &openConn{Conn: raw}, nil
		}
		conn, err := handshake(ctx, raw, files, address)
		if err != nil {
			return nil, errors.Join(err, closed(raw.Close()))
		}
		return conn, nil
	}
}

func handshake(ctx context.Context, raw net.Conn, files *tlsFiles, address string) (net.Conn, error) {
	config := files.current()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, explainTLS(err, address, config.ServerName)
	}
	return &tlsConn{Conn: conn, raw: raw, address: address, host: config.ServerName}, nil
}

// explainTLS says what to do about an error of TLS. What may go by itself stays as it is.
func explainTLS(err error, address, host string) error {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		notTLS   tls.RecordHeaderError
		alert    tls.AlertError
	)
	var advice string
	switch {
	case errors.As(err, &unknown):
		advice = "its certificate is of an authority that is not trusted: name the one that signed it with --kafka-ca-file"
	case errors.As(err, &hostname):
		advice = fmt.Sprintf("its certificate is not for %s: use an address that it is for, or name what it is for with --kafka-tls-server-name", host)
	case errors.As(err, &invalid):
		advice = "its certificate is not valid (has it expired?): renew it at the broker"
	case errors.As(err, &notTLS):
		advice = "it does not speak TLS on that port: use the port of its TLS listener, or leave out the --kafka-tls flags"
	case errors.As(err, &alert), isAlert(err):
		advice = "it refused our certificate or the lack of one: give one that it trusts with --kafka-cert-file and --kafka-key-file"
	case errors.Is(err, io.EOF):
		// Also what a broker does that is being stopped, so that it is tried again.
		return fmt.Errorf("%s ended the TLS handshake (where that lasts: does it speak TLS on that port?): %w", address, err)
	default:
		return fmt.Errorf("secure the connection to %s: %w", address, err)
	}
	return fmt.Errorf("%w: %s: %s: %w", ErrTLS, address, advice, err)
}

// isAlert tells an error that the other side sent, which comes as a net.OpError.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// tlsConn is a secured connection. The broker's verdict on our certificate comes after the
// handshake, with the first read.
type tlsConn struct {
	*tls.Conn
	raw           net.Conn
	address, host string
}

func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && isAlert(err) {
		err = explainTLS(err, c.address, c.host)
	}
	return n, err
}

// Close does not say goodbye, which on a connection that hangs takes five seconds. Kafka's
// messages have their lengths in them, so that none can be cut short unnoticed.
func (c *tlsConn) Close() error { return c.raw.Close() }

// openConn is a connection without TLS. It notices that the other side wants some.
type openConn struct {
	net.Conn
	answered atomic.Bool
}

func (c *openConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.answered.Swap(true) && isTLS(b[:n]) {
		return 0, fmt.Errorf("%w: %s speaks TLS: set --kafka-tls (and --kafka-ca-file where it is not signed by a public authority)", ErrTLS, c.RemoteAddr())
	}
	return n, err
}

// isTLS tells a record of TLS, an alert or a handshake. As the size of an answer, with which
// Kafka's begin, it would be one of more than 350 MB.
func isTLS(b []byte) bool { return len(b) > 1 && (b[0] == 21 || b[0] == 22) && b[1] == 3 }

func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// tlsFiles is the configuration that is made of a TLS's files, as they are now.
type tlsFiles struct {
	from TLS
	log  *slog.Logger

	mu     sync.Mutex
	config *tls.Config
	seen   contents // when they were last read
	failed string   // why they could then not be read, empty when they could
}

// contents are what CAFile, CertFile and KeyFile hold. They are compared whole: files that
// follow one another within a tick of the clock often have the same time and the same size.
type contents struct{ ca, cert, key string }

// newTLSFiles reads the files. Nil when there is to be no TLS.
func newTLSFiles(from TLS, log *slog.Logger) (*tlsFiles, error) {
	if !from.used() {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	if (from.CertFile == "") != (from.KeyFile == "") {
		return nil, errors.New("a certificate for kafka takes both --kafka-cert-file and --kafka-key-file")
	}
	f := &tlsFiles{from: from, log: log}
	var err error
	if f.seen, err = from.read(); err != nil {
		return nil, err
	}
	f.config, err = from.config(f.seen)
	return f, err
}

// current reads the files, and uses them when they have changed. When they cannot be used (one of
// two may have been replaced so far) those before stay, until the next change.
func (f *tlsFiles) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.from.read()
	if err != nil {
		if err.Error() != f.failed {
			f.log.Warn("the certificates for kafka cannot be read; going on with those before", "err", err)
		}
		f.failed = err.Error()
		return f.config
	}
	f.failed = ""
	if now == f.seen {
		return f.config
	}
	f.seen = now
	config, err := f.from.config(now)
	if err != nil {
		f.log.Warn("the changed certificates for kafka cannot be used; going on with those before", "err", err)
		return f.config
	}
	f.log.Info("read the changed certificates for kafka")
	f.config = config
	return config
}

func (t TLS) read() (all contents, err error) {
	for _, file := range []struct {
		flag, name string
		text       *string
	}{
		{"--kafka-ca-file", t.CAFile, &all.ca},
		{"--kafka-cert-file", t.CertFile, &all.cert},
		{"--kafka-key-file", t.KeyFile, &all.key},
	} {
		if file.name == "" {
			continue
		}
		text, err := os.ReadFile(file.name)
		if err != nil {
			return contents{}, fmt.Errorf("read %s: %w", file.flag, err)
		}
		*file.text = string(text)
	}
	return all, nil
}

func (t TLS) config(files contents) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(files.ca)) {
			return nil, fmt.Errorf("read --kafka-ca-file: %s holds no certificate in PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.X509KeyPair([]byte(files.cert), []byte(files.key))
		if err != nil {
			return nil, fmt.Errorf("read --kafka-cert-file and --kafka-key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
