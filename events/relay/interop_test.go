package relay

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/testservers"
)

// seen is what a reader sees of a record.
type seen struct {
	partition                   int
	key, id, position, previous string
	value                       string
}

// asSeen is what every reader has to see of a topic.
func asSeen(topic [][]kafka.Record) map[seen]int {
	all := map[seen]int{}
	for p, records := range topic {
		for _, r := range records {
			s := seen{partition: p, key: string(r.Key), value: string(r.Value)}
			s.id, _ = r.Header("ce_id")
			s.position, _ = r.Header("ce_position")
			s.previous, _ = r.Header("ce_previous")
			all[s]++
		}
	}
	return all
}

// header finds a header's value in "a=1,b=2" or "a:1,b:2".
func header(headers, separator, name string) string {
	for h := range strings.SplitSeq(headers, ",") {
		if value, ok := strings.CutPrefix(h, name+separator); ok {
			return value
		}
	}
	return ""
}

func TestRelay_OtherClientsReadTheTopic_SeeTheSameRecords(t *testing.T) {
	const partitions = 4
	address := testservers.Kafka(t)
	cluster, topic := onApacheKafka(t, partitions)
	store := newMemoryStore()
	store.append(streams(t, 300)...)
	if err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topic), Partitions: partitions}).RunOnce(deadline(t)); err != nil {
		t.Fatal(err)
	}
	want := asSeen(storedIn(t, cluster, topic, partitions))
	total := 0
	for _, n := range want {
		total += n
	}
	if total < 300 {
		t.Fatalf("the topic holds %d records, want 300 events and watermarks", total)
	}
	for name, read := range map[string]func(*testing.T) map[seen]int{
		"kcat": func(t *testing.T) map[seen]int {
			path, err := exec.LookPath("kcat")
			if err != nil {
				testservers.Missing(t, "kcat", err)
			}
			out := output(t, exec.CommandContext(deadline(t), path, "-C", "-q", "-e", "-b", address, "-t", topic, "-f", `%p\t%k\t%h\t%s\n`))
			got := map[seen]int{}
			for _, line := range linesOf(out) {
				f := strings.SplitN(line, "\t", 4)
				got[readSeen(t, f[0], f[1], f[2], "=", f[3])]++
			}
			return got
		},
		"Kafka's console consumer": func(t *testing.T) map[seen]int {
			out := output(t, testservers.KafkaTools(t).Command(deadline(t), "org.apache.kafka.tools.consumer.ConsoleConsumer",
				"--bootstrap-server", address, "--topic", topic, "--from-beginning", "--max-messages", strconv.Itoa(total),
				"--property", "print.partition=true", "--property", "print.headers=true", "--property", "print.key=true",
				"--property", "null.literal="))
			got := map[seen]int{}
			for _, line := range linesOf(out) {
				f := strings.SplitN(line, "\t", 4)
				got[readSeen(t, strings.TrimPrefix(f[0], "Partition:"), f[2], f[1], ":", f[3])]++
			}
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t)
			for s, n := range want {
				if got[s] != n {
					t.Errorf("it saw %+v %d times, want %d", s, got[s], n)
				}
			}
			if len(got) != len(want) {
				t.Errorf("it saw %d different records, want %d", len(got), len(want))
			}
			if t.Failed() {
				t.Logf("it saw also %+v", slices.Collect(maps.Keys(got))[:min(3, len(got))])
			}
		})
	}
}

func readSeen(t *testing.T, partition, key, headers, separator, value string) seen {
	t.Helper()
	p, err := strconv.Atoi(partition)
	if err != nil {
		t.Fatalf("a record of partition %q", partition)
	}
	return seen{
		partition: p, key: key, value: value,
		id: header(headers, separator, "ce_id"), position: header(headers, separator, "ce_position"), previous: header(headers, separator, "ce_previous"),
	}
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return string(out)
}

func linesOf(out string) []string { return strings.Split(strings.TrimSuffix(out, "\n"), "\n") }

// A key that a Java client writes goes to the partition where ours would have gone, so that both
// keep the order of a tenant's records.
func TestPartition_JavasProducer_PutsTheSameKeysInTheSamePartitions(t *testing.T) {
	const partitions, keys = 12, 5000
	address := testservers.Kafka(t)
	cluster, topic := connectTo(t, address, kafka.Topic{Name: "keys-" + named(), Partitions: partitions})
	var input strings.Builder
	for n := range keys {
		key := []string{"ten_%d", "ten_größe-%d", "db_北京-%d", "grp_🏢%d", "%d", "ключ-%d"}[n%6]
		fmt.Fprintf(&input, key+"\tv\n", n)
	}
	cmd := testservers.KafkaTools(t).Command(deadline(t), "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", address, "--topic", topic, "--property", "parse.key=true")
	cmd.Stdin = strings.NewReader(input.String())
	output(t, cmd)
	found := 0
	for p, records := range storedIn(t, cluster, topic, partitions) {
		for _, r := range records {
			found++
			if want := events.Partition(string(r.Key), partitions); p != want {
				t.Errorf("Java put the key %q in partition %d, we would in %d", r.Key, p, want)
			}
		}
	}
	if found != keys {
		t.Errorf("%d records were written, want %d", found, keys)
	}
}
