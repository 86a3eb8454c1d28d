package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

// duration is a time that is not negative, such as 168h.
type duration time.Duration

// String has no minutes and seconds that are none: 1h, and not 1h0m0s.
func (d *duration) String() string {
	s := time.Duration(*d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d *duration) Type() string { return "duration" }
func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return errors.New("it is not a time such as 168h or 30m")
	}
	*d = duration(v)
	return nil
}

// kafkaFlags are those of a command that speaks to Kafka.
type kafkaFlags struct {
	brokers                            *list
	partitions, replication, minInSync *number // nil: the command does not make the topic
	retention                          duration
}

func addKafkaFlags(cmd *cobra.Command, brokers string) *kafkaFlags {
	f := &kafkaFlags{brokers: &list{kind: "host:port,…", check: checkBroker}}
	flags := cmd.Flags()
	flags.Var(f.brokers, "kafka-brokers", brokers)
	flags.String("kafka-topic", "tenantry.events.v1", "the topic of tenant events")
	flags.Bool("kafka-tls", false, "speak TLS with the brokers; naming one of the files does so too")
	flags.String("kafka-ca-file", "", "PEM file of who may sign the brokers' certificates; empty: whom the system trusts")
	flags.String("kafka-cert-file", "", "PEM file of our certificate, where brokers ask for one")
	flags.String("kafka-key-file", "", "PEM file of its key")
	flags.String("kafka-tls-server-name", "", "what the brokers' certificates are for; empty: the host that is connected to")
	flags.Var(newChoice("", "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "kafka-sasl-mechanism", "how to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: not at all")
	flags.String("kafka-user", "", "whom to log in as")
	flags.String("kafka-password", "", "its password; a command line can be read by others, so rather in the environment")
	flags.String("kafka-password-file", "", "file that has the password; read again at each connection")
	return f
}

// addTopicFlags adds what the topic is made with, where it is not there.
func (f *kafkaFlags) addTopicFlags(cmd *cobra.Command) {
	f.partitions = &number{value: 12, min: 1, max: 1000}
	f.replication = &number{max: 9}
	f.minInSync = &number{max: 9}
	flags := cmd.Flags()
	flags.Var(f.partitions, "kafka-partitions", "partitions of the topic when it is made; never changed afterwards")
	flags.Var(f.replication, "kafka-replication", "copies of each partition of the topic; 0: what the brokers give it")
	flags.Var(f.minInSync, "kafka-min-insync-replicas", "copies that must have a record before it counts as stored; 0: what the brokers say")
	flags.Var(&f.retention, "kafka-retention", "how long the topic keeps records, such as 168h; 0: what the brokers say")
}

func (f *kafkaFlags) config(cmd *cobra.Command) daemon.Kafka {
	k := daemon.Kafka{
		Brokers: f.brokers.values, Topic: flagValue(cmd, "kafka-topic"),
		TLS: flagValue(cmd, "kafka-tls") == "true", CAFile: flagValue(cmd, "kafka-ca-file"), CertFile: flagValue(cmd, "kafka-cert-file"),
		KeyFile: flagValue(cmd, "kafka-key-file"), ServerName: flagValue(cmd, "kafka-tls-server-name"),
		Mechanism: flagValue(cmd, "kafka-sasl-mechanism"), User: flagValue(cmd, "kafka-user"),
		Password: flagValue(cmd, "kafka-password"), PasswordFile: flagValue(cmd, "kafka-password-file"),
		Retention: time.Duration(f.retention),
	}
	if f.partitions != nil {
		k.Partitions, k.Replication, k.MinInSync = f.partitions.value, f.replication.value, f.minInSync.value
	}
	return k
}

// verifyFlags say whether and how a node holds its copy against the source by itself.
type verifyFlags struct{ every duration }

func addVerifyFlags(cmd *cobra.Command) *verifyFlags {
	f := &verifyFlags{every: duration(time.Hour)}
	flags := cmd.Flags()
	flags.Var(&f.every, "verify-every", "how often a node compares its copy with the source of truth in the background, such as 1h; 0: never")
	flags.Bool("heal", false, "mend by itself what is then found to differ; else it is told in the log, /v1/status and the metrics")
	return f
}

const defaultConns = 10

// addDatabaseFlags adds those of a command that speaks to the store on PostgreSQL.
func addDatabaseFlags(cmd *cobra.Command, about string) {
	flags := cmd.Flags()
	flags.Var(newDatabaseURL(), "database-url", about)
	flags.String("database-password-file", "", "file that has the database's password; read again at each connection")
}

// addPoolFlags adds what a server needs of it besides.
func addPoolFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(newDatabaseURL(), "database-lead-url", "the database itself, where --database-url is a pooler's: the relay's leader holds a lock on a session of its own")
	flags.Var(&number{value: defaultConns, min: 2, max: 1000}, "database-max-conns", "connections to the database at most; the relay's leader has one more")
}

func databaseConfig(cmd *cobra.Command) (daemon.Database, error) {
	d := daemon.Database{URL: flagValue(cmd, "database-url"), PasswordFile: flagValue(cmd, "database-password-file")}
	if cmd.Flag("database-max-conns") == nil {
		return d, nil
	}
	d.LeadURL = flagValue(cmd, "database-lead-url")
	var err error
	d.MaxConns, err = strconv.Atoi(flagValue(cmd, "database-max-conns"))
	return d, err
}

// newDatabaseURL is a URL of PostgreSQL, or none.
func newDatabaseURL() *checked {
	return &checked{kind: "URL", check: func(s string) error {
		if s == "" {
			return nil
		}
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
			return errors.New("it is not a URL such as postgres://tenantry@db.example:5432/tenantry; a / ? # @ or % in the password has to be percent-encoded")
		}
		return nil
	}}
}

// newSource is where the truth can be read.
func newSource() *checked {
	return &checked{kind: "URL", check: func(s string) error {
		if newDatabaseURL().check(s) == nil || checkURL(s) == nil {
			return nil
		}
		return errors.New("it is not a URL such as http://catalogue.example:8080 or postgres://tenantry@db.example/tenantry")
	}}
}

// needs refuses a command whose settings lack one.
func needs(cmd *cobra.Command, names ...string) error {
	var missing []error
	for _, name := range names {
		if flagValue(cmd, name) == "" {
			f := cmd.Flag(name)
			text := fmt.Sprintf("--%s is missing: %s", name, f.Usage)
			if isSetting(f) {
				text += fmt.Sprintf("; give it as a flag, as %s, or as a key of the --config file", envName(name))
			}
			missing = append(missing, errors.New(text))
		}
	}
	if len(missing) > 0 {
		return usage("%w", errors.Join(missing...))
	}
	return nil
}

// addSourceFlags are those of a source of truth, besides --source itself.
func addSourceFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.String("database-password-file", "", "file that has the database's password, where the source is one; read again at each connection")
	flags.String("source-ca-file", "", "PEM file of who may sign the certificate of a source at https://; empty: whom the system trusts")
	flags.String("source-token-file", "", "file that has the bearer token for a source at https://; read again at each request")
}

func sourceOfTruth(cmd *cobra.Command) daemon.Source {
	return daemon.Source{
		URL: flagValue(cmd, "source"), PasswordFile: flagValue(cmd, "database-password-file"),
		Trust: daemon.Trust{CAFile: flagValue(cmd, "source-ca-file"), TokenFile: flagValue(cmd, "source-token-file")},
	}
}
