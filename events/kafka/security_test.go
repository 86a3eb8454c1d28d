package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/testservers"
)

const (
	testUser     = "tenantry"
	testPassword = "correct horse"
)

// secureKafka is an Apache Kafka with all its listeners.
type secureKafka struct {
	*testservers.KafkaCluster
	authority *testservers.Authority
}

func newSecureKafka(t *testing.T, settings map[string]string) secureKafka {
	t.Helper()
	authority, err := testservers.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return secureKafka{
		testservers.NewKafka(t, testservers.KafkaOptions{Users: map[string]string{testUser: testPassword}, Certificates: authority, Settings: settings}),
		authority,
	}
}

// usable says whether a cluster can be written to and read from.
func usable(t *testing.T, config Config, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	config.Logger = quiet
	c, err := New(config)
	if err != nil {
		return err
	}
	defer c.Close()
	topic := named(t, "events")
	if err := c.EnsureTopic(ctx, Topic{Name: topic, Partitions: 1}); err != nil {
		return err
	}
	p, err := c.NewProducer(ctx, topic)
	if err != nil {
		return err
	}
	if _, err := p.Produce(ctx, 0, numbered("1", "2")); err != nil {
		return err
	}
	sub := NewSubscriber(c, SubscriberConfig{ConsumerGroup: named(t, "group")}) // a connection of its own
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	for _, want := range []string{"1", "2"} {
		msg, open := <-messages
		if !open || string(msg.Payload) != want {
			return fmt.Errorf("a consumer group read %v, want %s", msg, want)
		}
		msg.Ack()
	}
	return nil
}

func TestCluster_TLSAndLogins_WorkOrSayWhatToDo(t *testing.T) {
	k := newSecureKafka(t, map[string]string{"ssl.client.auth": "required"}) // on TLS, not on SASLTLS
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	stranger, err := testservers.NewAuthority(filepath.Join(dir, "stranger"))
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *testservers.Authority) TLS {
		cert, key, err := a.Issue("client")
		if err != nil {
			t.Fatal(err)
		}
		return TLS{CAFile: k.authority.CAFile(), CertFile: cert, KeyFile: key}
	}
	_, port, err := net.SplitHostPort(k.Brokers(testservers.TLS)[0])
	if err != nil {
		t.Fatal(err)
	}
	trusted := TLS{CAFile: k.authority.CAFile()}
	login := func(mechanism, password string) SASL {
		return SASL{Mechanism: mechanism, User: testUser, Password: Secret(password)}
	}
	for _, c := range []struct {
		name     string
		listener testservers.Listener
		brokers  []string // instead of the listener's
		tls      TLS
		sasl     SASL
		want     error
		says     []string
	}{
		{name: "TLS with a client's certificate", listener: testservers.TLS, tls: issue(k.authority)},
		{name: "PLAIN", listener: testservers.SASLPlaintext, sasl: login(SASLPlain, testPassword)},
		{name: "PLAIN over TLS", listener: testservers.SASLTLS, tls: trusted, sasl: login(SASLPlain, testPassword)},
		{name: "SCRAM-SHA-256", listener: testservers.SASLPlaintext, sasl: login(SASLScramSHA256, testPassword)},
		{name: "SCRAM-SHA-512 over TLS", listener: testservers.SASLTLS, tls: trusted, sasl: login(SASLScramSHA512, testPassword)},
		{
			name: "password in a file", listener: testservers.SASLTLS, tls: trusted,
			sasl: SASL{Mechanism: SASLScramSHA512, User: testUser, PasswordFile: write("password", testPassword+"\n")},
		},
		{
			name: "the second of two brokers is there", brokers: append([]string{"127.0.0.1:1"}, k.Brokers(testservers.TLS)...), tls: issue(k.authority),
		},

		{
			name: "wrong authority", listener: testservers.TLS, tls: TLS{CAFile: stranger.CAFile()},
			want: ErrTLS, says: []string{"--kafka-ca-file"},
		},
		{
			name: "the system's authorities", listener: testservers.TLS, tls: TLS{Enabled: true},
			want: ErrTLS, says: []string{"--kafka-ca-file"},
		},
		{
			name: "a certificate for another host", brokers: []string{"localhost:" + port}, tls: trusted,
			want: ErrTLS, says: []string{"not for localhost", "--kafka-tls-server-name"},
		},
		{
			name: "a client's certificate of a stranger", listener: testservers.TLS, tls: issue(stranger),
			want: ErrTLS, says: []string{"--kafka-cert-file", "--kafka-key-file"},
		},
		{
			name: "without a client's certificate where one is wanted", listener: testservers.TLS, tls: trusted,
			want: ErrTLS, says: []string{"--kafka-cert-file", "--kafka-key-file"},
		},
		{
			name: "without TLS on a TLS port", listener: testservers.TLS,
			want: ErrTLS, says: []string{"--kafka-tls"},
		},
		{
			name: "with TLS on a plain port", listener: testservers.Plaintext, tls: trusted,
			want: context.DeadlineExceeded, says: []string{"does it speak TLS on that port"},
		},
		{
			name: "wrong password, PLAIN", listener: testservers.SASLTLS, tls: trusted, sasl: login(SASLPlain, "wrong pony"),
			want: ErrLogin, says: []string{"--kafka-user", "the password"},
		},
		{
			name: "wrong password, SCRAM", listener: testservers.SASLPlaintext, sasl: login(SASLScramSHA512, "wrong pony"),
			want: ErrLogin, says: []string{"--kafka-user", "the password"},
		},
		{
			name: "wrong password in a file", listener: testservers.SASLPlaintext,
			sasl: SASL{Mechanism: SASLScramSHA256, User: testUser, PasswordFile: write("wrong", "wrong pony")},
			want: ErrLogin, says: []string{"the password in " + filepath.Join(dir, "wrong")},
		},
		{
			name: "a login where none is wanted", listener: testservers.Plaintext, sasl: login(SASLPlain, testPassword),
			want: ErrLogin, says: []string{"--kafka-sasl-mechanism"},
		},
		{
			name: "without a login where one is wanted", listener: testservers.SASLPlaintext,
			want: context.DeadlineExceeded, says: []string{"does that port want a login", "--kafka-sasl-mechanism"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			brokers := c.brokers
			if brokers == nil {
				brokers = k.Brokers(c.listener)
			}
			patience := 30 * time.Second
			if errors.Is(c.want, context.DeadlineExceeded) {
				patience = 2 * time.Second
			}
			err := usable(t, Config{Brokers: brokers, TLS: c.tls, SASL: c.sasl}, patience)
			if !errors.Is(err, c.want) {
				t.Fatalf("the cluster is usable: %v, want %v", err, c.want)
			}
			for _, says := range c.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("the error is %q, which does not say %q", err, says)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "pony") || strings.Contains(err.Error(), testPassword)) {
				t.Errorf("the error %q tells the password", err)
			}
		})
	}
}

func TestCluster_CertificatesChange_NewConnectionsUseThem(t *testing.T) {
	k := newSecureKafka(t, map[string]string{"ssl.client.auth": "required"})
	dir := t.TempDir()
	ours, err := testservers.NewAuthority(filepath.Join(dir, "ours"))
	if err != nil {
		t.Fatal(err)
	}
	install := func(from *testservers.Authority) TLS {
		t.Helper()
		cert, key, err := from.Issue("client")
		if err != nil {
			t.Fatal(err)
		}
		files := TLS{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
		for to, what := range map[string]string{files.CAFile: from.CAFile(), files.CertFile: cert, files.KeyFile: key} {
			text, err := os.ReadFile(what)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	c := testClusterWith(t, Config{Brokers: k.Brokers(testservers.TLS), TLS: install(ours)})
	if err := c.Ping(testContext(t)); !errors.Is(err, ErrTLS) {
		t.Fatalf("Ping with a strange authority = %v, want %v", err, ErrTLS)
	}
	files := install(k.authority)
	c.refresh() // a session that is younger than renewEvery stays, with the error that it had
	if err := c.Ping(testContext(t)); err != nil {
		t.Errorf("Ping with the right files in place of the wrong ones = %v, want nil", err)
	}
	// Half of a change, and a broken file, leave those before in use.
	if err := os.WriteFile(files.CertFile, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.refresh()
	if err := c.Ping(testContext(t)); err != nil {
		t.Errorf("Ping with a broken certificate file = %v, want nil by the one before", err)
	}
	install(ours)
	c.refresh()
	if err := c.Ping(testContext(t)); !errors.Is(err, ErrTLS) {
		t.Errorf("Ping with a strange authority = %v, want %v", err, ErrTLS)
	}
}

func TestCluster_PasswordFileChanges_NewConnectionsUseIt(t *testing.T) {
	k := newSecureKafka(t, nil)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	c := testClusterWith(t, Config{
		Brokers: k.Brokers(testservers.SASLTLS), TLS: TLS{CAFile: k.authority.CAFile()},
		SASL: SASL{Mechanism: SASLScramSHA512, User: testUser, PasswordFile: file},
	})
	if err := c.Ping(testContext(t)); !errors.Is(err, ErrLogin) {
		t.Fatalf("Ping with an old password = %v, want %v", err, ErrLogin)
	}
	write(testPassword + "\r\n")
	if _, err := c.Partitions(testContext(t), "nowhere"); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("Partitions with the new password = %v, want %v", err, ErrUnknownTopic)
	}
}

func TestNew_SecurityThatCannotBe_SaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, config := range map[string]Config{
		"--kafka-ca-file: open":                {TLS: TLS{CAFile: filepath.Join(dir, "nothing")}},
		"empty holds no certificate":           {TLS: TLS{CAFile: empty}},
		"both --kafka-cert-file":               {TLS: TLS{CertFile: empty}},
		"--kafka-cert-file and":                {TLS: TLS{CertFile: empty, KeyFile: empty}},
		"set --kafka-sasl-mechanism":           {SASL: SASL{User: "u", Password: "pony"}},
		"has to be SCRAM-SHA-512":              {SASL: SASL{Mechanism: "GSSAPI", User: "u", Password: "pony"}},
		"set --kafka-user":                     {SASL: SASL{Mechanism: SASLPlain, Password: "pony"}},
		"set --kafka-password-file":            {SASL: SASL{Mechanism: SASLPlain, User: "u"}},
		"give one of them":                     {SASL: SASL{Mechanism: SASLPlain, User: "u", Password: "pony", PasswordFile: empty}},
		"empty is empty":                       {SASL: SASL{Mechanism: SASLPlain, User: "u", PasswordFile: empty}},
		"(--kafka-password-file): open":        {SASL: SASL{Mechanism: SASLPlain, User: "u", PasswordFile: filepath.Join(dir, "nothing")}},
		"characters that SCRAM-SHA-512 cannot": {SASL: SASL{Mechanism: SASLScramSHA512, User: "u", Password: "pony\x00"}},
	} {
		config.Brokers = []string{"127.0.0.1:9092"}
		_, err := New(config)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "pony") {
			t.Errorf("New = %v, want an error that says %q, and no password", err, says)
		}
	}
}

func TestSecret_Printed_IsHidden(t *testing.T) {
	config := Config{SASL: SASL{User: "u", Password: "pony"}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sasl", config.SASL, "password", config.SASL.Password)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "sasl", config.SASL, "password", config.SASL.Password)
	encoded, err := json.Marshal(config.SASL)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %q %s %s", config, config, config, config.SASL, config.SASL.Password, log.String(), encoded)
	if strings.Contains(all, "pony") || !strings.Contains(all, redacted) {
		t.Errorf("the password is in %s", all)
	}
}
