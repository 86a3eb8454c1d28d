package testservers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The listeners for the nodes among themselves.
const (
	controller Listener = "CONTROLLER"
	internal   Listener = "INTERNAL"
)

// KafkaNode is a broker and controller. Its methods are for one goroutine.
type KafkaNode struct {
	ID int // node.id, from 1 on; what metadata calls a partition's leader

	cluster    *KafkaCluster
	dir        string
	bound      map[Listener]string
	advertised map[Listener]string
	process    *process // nil when it is guarded
	stopped    bool
	paused     bool
}

// Bound is the address that the node listens on; clients may be told another.
func (n *KafkaNode) Bound(l Listener) string { return n.bound[l] }

// LogDir is where the node keeps its data: a directory per partition, named topic-partition. A test
// may damage it while the node is down.
func (n *KafkaNode) LogDir() string { return filepath.Join(n.dir, "data") }

func (n *KafkaNode) configFile() string { return filepath.Join(n.dir, "server.properties") }
func (n *KafkaNode) logFile() string    { return filepath.Join(n.dir, "kafka.log") }

func (n *KafkaNode) logEnd() string {
	log, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(log, 30)
}

func (n *KafkaNode) argv() []string {
	tools := n.cluster.tools
	argv := []string{tools.Java, "-Xmx512m", "-XX:+UseSerialGC"}
	if len(n.cluster.Nodes) > 1 {
		// They are started again and again: compiled less, they are there sooner.
		argv = append(argv, "-XX:TieredStopAtLevel=1")
	}
	return append(argv, "-cp", filepath.Join(tools.Libs, "*"),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"kafka.Kafka", n.configFile())
}

// Kill kills the node as a power cut would its process (kill -9), and waits until it is gone. What
// the broker has written, the operating system still has.
func (n *KafkaNode) Kill() error { return n.end(syscall.SIGKILL) }

// Stop stops the node in order: it hands its partitions over to others first.
func (n *KafkaNode) Stop() error { return n.end(syscall.SIGTERM) }

func (n *KafkaNode) end(s syscall.Signal) error {
	n.stopped = true
	if n.process == nil {
		return nil
	}
	if n.paused && s != syscall.SIGKILL {
		if err := n.Continue(); err != nil {
			return err
		}
	}
	n.paused = false
	return n.process.end(s)
}

// Start starts the node again, after Kill or Stop. See KafkaCluster.Ready for when it is there.
func (n *KafkaNode) Start() error {
	if !n.stopped {
		return fmt.Errorf("node %d was not stopped", n.ID)
	}
	if err := direct(n, n.argv()...); err != nil {
		return err
	}
	n.stopped = false
	return nil
}

// Pause makes the node hang (SIGSTOP): its connections stay, and nobody answers.
func (n *KafkaNode) Pause() error {
	n.paused = true
	return n.process.signal(syscall.SIGSTOP)
}

// Continue wakes a paused node.
func (n *KafkaNode) Continue() error {
	n.paused = false
	return n.process.signal(syscall.SIGCONT)
}

// ended is closed when the node has ended; nil, for ever open, where nobody can tell.
func (n *KafkaNode) ended() <-chan struct{} {
	if n.process == nil {
		return nil
	}
	return n.process.ended
}

// settings are the node's server.properties.
func (n *KafkaNode) settings(listeners []Listener, options KafkaOptions) (string, error) {
	var voters, bound, advertised, protocols []string
	for _, other := range n.cluster.Nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", other.ID, other.bound[controller]))
	}
	for _, l := range listeners {
		bound = append(bound, fmt.Sprintf("%s://%s", l, n.bound[l]))
		protocol := l
		switch l {
		case controller:
			protocol = Plaintext
		case internal, Other:
			protocol = Plaintext
			fallthrough
		default:
			advertised = append(advertised, fmt.Sprintf("%s://%s", l, n.advertised[l]))
		}
		protocols = append(protocols, fmt.Sprintf("%s:%s", l, protocol))
	}
	copies := min(3, len(n.cluster.Nodes))
	settings := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(n.ID),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      string(controller),
		"inter.broker.listener.name":     string(internal),
		"listeners":                      strings.Join(bound, ","),
		"advertised.listeners":           strings.Join(advertised, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"log.dirs":                       n.LogDir(),

		"auto.create.topics.enable":                "false",
		"default.replication.factor":               strconv.Itoa(copies),
		"offsets.topic.replication.factor":         strconv.Itoa(copies),
		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": strconv.Itoa(copies),
		"transaction.state.log.min.isr":            strconv.Itoa(min(2, copies)),
		"transaction.state.log.num.partitions":     "4",
		"group.initial.rebalance.delay.ms":         "0",

		// A broker that is gone is noticed in 3 s, not in 9, so that tests end sooner.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",

		// Memory for compaction, which only Kafka's own topics have: 128 MB by default.
		"log.cleaner.dedupe.buffer.size": "4194304",
	}
	if options.Authorize {
		settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		settings["super.users"] = "User:ANONYMOUS" // who has not logged in: the nodes, and tests
	}
	if err := n.secure(settings, listeners, options); err != nil {
		return "", err
	}
	maps.Copy(settings, options.Settings)
	return properties(settings), nil
}

// secure adds what TLS and SASL need.
func (n *KafkaNode) secure(settings map[string]string, listeners []Listener, options KafkaOptions) error {
	if a := options.Certificates; a != nil {
		certFile, keyFile, err := a.Issue(fmt.Sprintf("node-%d", n.ID), "127.0.0.1")
		if err != nil {
			return err
		}
		cert, errCert := os.ReadFile(certFile)
		key, errKey := os.ReadFile(keyFile)
		pair := filepath.Join(n.dir, "node.pem")
		if err := errors.Join(errCert, errKey, os.WriteFile(pair, append(key, cert...), 0o600)); err != nil {
			return err
		}
		settings["ssl.keystore.type"] = "PEM"
		settings["ssl.keystore.location"] = pair
		settings["ssl.truststore.type"] = "PEM"
		settings["ssl.truststore.location"] = a.CAFile()
		settings["ssl.client.auth"] = "requested"
	}
	plain := []string{"org.apache.kafka.common.security.plain.PlainLoginModule required"}
	for user, password := range options.Users {
		plain = append(plain, fmt.Sprintf("user_%s=%q", user, password))
	}
	for _, l := range listeners {
		if l != SASLPlaintext && l != SASLTLS {
			continue
		}
		prefix := "listener.name." + strings.ToLower(string(l)) + "."
		settings[prefix+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		settings[prefix+"plain.sasl.jaas.config"] = strings.Join(plain, " ") + ";"
		for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
			settings[prefix+mechanism+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	return nil
}
