package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

var (
	// ErrLogin: the brokers did not take the user, the password or the mechanism. The text says
	// which it was and what to set. It is not retried: at start it is a wrong flag. A process
	// that runs may try again later, for the password file is read at each connection.
	ErrLogin = errors.New("kafka refused the login")

	// ErrTLS: a connection could not be secured, because one side does not trust the other's
	// certificate or does not speak TLS at all. Treat it as ErrLogin: the files are read again
	// when they have changed.
	ErrTLS = errors.New("no secure connection to kafka")
)

// Secret is a string that nothing prints by accident.
type Secret string

const redacted = "[secret]"

// String hides it from fmt's verbs.
func (Secret) String() string { return redacted }

// GoString hides it from %#v.
func (Secret) GoString() string { return redacted }

// MarshalText hides it from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides it from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// TLS says how connections to the brokers are secured. The files are PEM, and read again, at the
// next connection, when they have changed. What is wrong with them then is logged, and the ones
// before stay in use.
type TLS struct {
	// Enabled secures connections; naming a file or a server does so too.
	Enabled bool

	CAFile   string // who may sign the brokers' certificates; whom the system trusts when empty
	CertFile string // our certificate and what signed it, where brokers ask for one
	KeyFile  string // its key

	// ServerName is what the brokers' certificates have to be for; when empty the host that is
	// connected to.
	ServerName string
}

func (t TLS) used() bool {
	return t.Enabled || t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != ""
}

// The mechanisms of SASL that there are.
const (
	SASLPlain       = "PLAIN"
	SASLScramSHA256 = "SCRAM-SHA-256"
	SASLScramSHA512 = "SCRAM-SHA-512"
)

// SASL says how to log in to the brokers.
type SASL struct {
	Mechanism string // one of the above; no login when empty
	User      string

	// The password is one of these. The file is read at each connection; an end of line at its
	// end is not part of the password.
	Password     Secret
	PasswordFile string
}

func (s SASL) validate() error {
	if s.Mechanism == "" {
		if s.User != "" || s.Password != "" || s.PasswordFile != "" {
			return fmt.Errorf("a kafka user or password is given, and no mechanism: set --kafka-sasl-mechanism (%s, %s or %s)", SASLScramSHA512, SASLScramSHA256, SASLPlain)
		}
		return nil
	}
	switch s.Mechanism {
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
	default:
		return fmt.Errorf("kafka login by %q: --kafka-sasl-mechanism has to be %s, %s or %s", s.Mechanism, SASLScramSHA512, SASLScramSHA256, SASLPlain)
	}
	switch {
	case s.User == "":
		return errors.New("kafka login without a user: set --kafka-user")
	case s.Password == "" && s.PasswordFile == "":
		return errors.New("kafka login without a password: set --kafka-password-file")
	case s.Password != "" && s.PasswordFile != "":
		return errors.New("kafka login with a password and a password file: give one of them")
	}
	_, err := s.mechanism()
	return err
}

// mechanism is kafka-go's, with the password of this moment.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	password := string(s.Password)
	if s.PasswordFile != "" {
		text, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka's password (--kafka-password-file): %w", err)
		}
		password = string(bytes.TrimRight(text, "\r\n"))
		if password == "" {
			return nil, fmt.Errorf("read kafka's password (--kafka-password-file): %s is empty", s.PasswordFile)
		}
	}
	algorithm := scram.SHA512
	switch s.Mechanism {
	case SASLPlain:
		return plain.Mechanism{Username: s.User, Password: password}, nil
	case SASLScramSHA256:
		algorithm = scram.SHA256
	}
	m, err := scram.Mechanism(algorithm, s.User, password)
	if err != nil {
		// Its error has the password in it.
		return nil, fmt.Errorf("kafka's user or password has characters that %s cannot carry", s.Mechanism)
	}
	return m, nil
}

// login is a mechanism that reads the password anew for each connection.
type login struct{ SASL }

func (l login) Name() string { return l.Mechanism }

func (l login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := l.mechanism()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	return m.Start(ctx)
}

func (s SASL) login() sasl.Mechanism {
	if s.Mechanism == "" {
		return nil
	}
	return login{s}
}

// explain adds what to do to an error that the brokers answer to a login.
func (c *Cluster) explain(err error) error {
	s := c.config.SASL
	switch {
	case err == nil || errors.Is(err, ErrLogin):
		return err
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		password := "the password"
		if s.PasswordFile != "" {
			password = "the password in " + s.PasswordFile
		}
		return fmt.Errorf("%w: the user %s (--kafka-user) or %s is wrong, for %s: %w", ErrLogin, s.User, password, s.Mechanism, err)
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return fmt.Errorf("%w: %s is not one of the mechanisms of %s: set --kafka-sasl-mechanism to one that is, or use the listener that has it: %w",
			ErrLogin, s.Mechanism, c.names(), err)
	case errors.Is(err, kafka.IllegalSASLState):
		return fmt.Errorf("%w: %s wants none: leave out --kafka-sasl-mechanism, or use the listener's address that wants one: %w", ErrLogin, c.names(), err)
	case errors.Is(err, kafka.GroupAuthorizationFailed):
		return fmt.Errorf("kafka does not let the user %s do that (kafka-acls.sh: a catalogue needs READ of the group, for nothing but tenantry replay --topic; a region needs none): %w", s.User, err)
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		// READ and WRITE have DESCRIBE in them.
		return fmt.Errorf("kafka does not let the user %s do that (kafka-acls.sh: a region needs READ of the topic; a catalogue READ, WRITE and DESCRIBE_CONFIGS of it, and CREATE unless it is there): %w", s.User, err)
	case s.Mechanism == "" && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		// Also what a broker does that is being stopped, so that it is tried again.
		return fmt.Errorf("the connection was closed (where that lasts: does that port want a login, --kafka-sasl-mechanism, or TLS?): %w", err)
	}
	return err
}

// names are the brokers as the operator named them.
func (c *Cluster) names() string { return strings.Join(c.config.Brokers, ",") }
