package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"
)

// serveEnv makes the test binary a broker on that directory, to be killed.
const serveEnv = "TENANTRY_TEST_SERVE_BROKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		b, err := Open(context.Background(), Config{DataDir: dir, Logger: quiet})
		if err != nil {
			fmt.Fprintln(os.Stdout, "error:", err)
			return
		}
		fmt.Fprintln(os.Stdout, b.Addr())
		select {} // Until it is killed.
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, dir string) *Broker {
	t.Helper()
	b, err := Open(t.Context(), Config{DataDir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("close the broker: %v", err)
	}
}

// client talks to the broker at the address, with connections of its own.
func client(t *testing.T, address string) *kafka.Client {
	t.Helper()
	transport := new(kafka.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(address), Transport: transport, Timeout: 10 * time.Second}
}

func makeTopic(t *testing.T, c *kafka.Client, name string, settings ...kafka.ConfigEntry) {
	t.Helper()
	answer, err := c.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: settings,
	}}})
	if err != nil || answer.Errors[name] != nil {
		t.Fatal(err, answer)
	}
}

func produce(t *testing.T, c *kafka.Client, topic string, at time.Time, values ...string) {
	t.Helper()
	var records []kafka.Record
	for _, v := range values {
		records = append(records, kafka.Record{Key: kafka.NewBytes([]byte("key")), Value: kafka.NewBytes([]byte(v)), Time: at})
	}
	answer, err := c.Produce(t.Context(), &kafka.ProduceRequest{Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...)})
	if err != nil || answer.Error != nil {
		t.Fatal(err, answer)
	}
}

func consume(t *testing.T, c *kafka.Client, topic string) []string {
	t.Helper()
	first, end := offsets(t, c, topic)
	values := []string{}
	for first < end {
		answer, err := c.Fetch(t.Context(), &kafka.FetchRequest{Topic: topic, Offset: first, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
		if err != nil || answer.Error != nil {
			t.Fatal(err, answer)
		}
		for {
			r, err := answer.Records.ReadRecord()
			if err != nil {
				break
			}
			if r.Offset < first {
				continue
			}
			v, err := kafka.ReadAll(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, string(v))
			first = r.Offset + 1
		}
	}
	return values
}

func offsets(t *testing.T, c *kafka.Client, topic string) (first, end int64) {
	t.Helper()
	answer, err := c.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
	if err != nil || len(answer.Topics[topic]) != 1 || answer.Topics[topic][0].Error != nil {
		t.Fatal(err, answer)
	}
	return answer.Topics[topic][0].FirstOffset, answer.Topics[topic][0].LastOffset
}

func TestBroker_Reopened_OnAnotherPort_HasItsRecordsAndGroups(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	first := b.Addr()
	c := client(t, first)
	makeTopic(t, c, "events")
	produce(t, c, "events", time.Now(), "a", "b")
	commit, err := c.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: "g", GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{"events": {{Partition: 0, Offset: 2}}}})
	if err != nil || commit.Topics["events"][0].Error != nil {
		t.Fatal(err, commit)
	}
	closeBroker(t, b)

	// Somebody else has the old port now.
	listener, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	b = open(t, dir)
	if b.Addr() == first {
		t.Fatalf("reopened on %s, want another port", first)
	}
	c = client(t, b.Addr())
	if got := consume(t, c, "events"); strings.Join(got, "") != "ab" {
		t.Errorf("the reopened broker has %q, want a and b", got)
	}
	committed, err := c.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: "g", Topics: map[string][]int{"events": {0}}})
	if err != nil || committed.Topics["events"][0].CommittedOffset != 2 {
		t.Errorf("the group's offset is %+v, %v, want 2", committed, err)
	}
	produce(t, c, "events", time.Now(), "c")
	if got := consume(t, c, "events"); strings.Join(got, "") != "abc" {
		t.Errorf("after one more record it has %q, want a, b and c", got)
	}
}

func TestBroker_Killed_LosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for round := range 5 {
		address, kill := serve(t, dir)
		c := client(t, address)
		if round == 0 {
			makeTopic(t, c, "events")
		}
		for i := range 20 {
			v := fmt.Sprintf("%d-%d", round, i)
			produce(t, c, "events", time.Now(), v)
			want = append(want, v)
		}
		kill()
	}
	c := client(t, open(t, dir).Addr())
	if got := consume(t, c, "events"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("after five kills it has %d records\n%q, want %d\n%q", len(got), got, len(want), want)
	}
}

// serve runs a broker in a process of its own.
func serve(t *testing.T, dir string) (address string, kill func()) {
	t.Helper()
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), serveEnv+"="+dir)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = process.Process.Kill() // It cannot be gone: it never ends by itself.
			_ = process.Wait()         // Says that it was killed.
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatal(line, err)
	}
	return strings.TrimSpace(line), kill
}

func TestOpen_AddressInUse_NamesItAndTheFlagInOneLine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dir := t.TempDir()
	_, err = Open(t.Context(), Config{DataDir: dir, Listen: listener.Addr().String(), Logger: quiet})
	wantLine(t, err, listener.Addr().String(), "in use", "--kafka-listen")
	open(t, dir) // Nothing is left locked.
}

func TestOpen_AddressThatNobodyCanReach_IsRefused(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		_, err := Open(t.Context(), Config{DataDir: t.TempDir(), Listen: address, Logger: quiet})
		wantLine(t, err, address, "--kafka-listen")
	}
	for _, address := range []string{"nonsense", "127.0.0.1:port", "192.0.2.1:0"} {
		_, err := Open(t.Context(), Config{DataDir: t.TempDir(), Listen: address, Logger: quiet})
		wantLine(t, err, address, "--kafka-listen")
	}
}

func TestOpen_DirectoryInUse_IsRefused(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	_, err := Open(t.Context(), Config{DataDir: dir, Logger: quiet})
	wantLine(t, err, dir, "in use", "--data-dir")
	closeBroker(t, b)
	open(t, dir)
}

func TestOpen_DataOfAnotherProgram_IsRefusedNamingTheDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{DataDir: dir, Logger: quiet})
	wantLine(t, err, dir, "version 99")
	if _, err := Open(t.Context(), Config{Logger: quiet}); err == nil {
		t.Error("Open without a directory succeeded")
	}
}

func wantLine(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("Open succeeded")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error is %q, want it to say %q", err, part)
		}
	}
}

func TestBroker_Retention_RemovesOldRecordsAndTheirFiles(t *testing.T) {
	for name, test := range map[string]struct {
		setting kafka.ConfigEntry
		old     time.Time
	}{
		"by time": {kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: strconv.Itoa(int(time.Hour / time.Millisecond))}, time.Now().Add(-2 * time.Hour)},
		"by size": {kafka.ConfigEntry{ConfigName: "retention.bytes", ConfigValue: strconv.Itoa(64 << 10)}, time.Now()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			c := client(t, b.Addr())
			makeTopic(t, c, "events", test.setting)
			large := strings.Repeat("x", 512<<10)
			for range 3 * segmentBytes / len(large) {
				produce(t, c, "events", test.old, large)
			}
			produce(t, c, "events", time.Now(), "new")
			before := size(t, dir)
			closeBroker(t, b)

			b, err := Open(t.Context(), Config{DataDir: dir, Logger: quiet, RetentionEvery: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer closeBroker(t, b)
			c = client(t, b.Addr())
			deadline := time.Now().Add(30 * time.Second)
			for first, end := offsets(t, c, "events"); end-first > 1; first, end = offsets(t, c, "events") {
				if time.Now().After(deadline) {
					t.Fatalf("the log still is %d to %d, want the last record alone", first, end)
				}
			}
			if got := consume(t, c, "events"); len(got) != 1 || got[0] != "new" {
				t.Errorf("after retention the records are %.20q, want the new one", got)
			}
			if after := size(t, dir); after > before-2*segmentBytes {
				t.Errorf("retention left %d of %d bytes, want at least two files of %d gone", after, before, segmentBytes)
			}
			first, end := offsets(t, c, "events")
			closeBroker(t, b)
			c = client(t, open(t, dir).Addr())
			if f, e := offsets(t, c, "events"); f != first || e != end {
				t.Errorf("reopened, the log is %d to %d, want %d to %d", f, e, first, end)
			}
		})
	}
}

func size(t *testing.T, dir string) int64 {
	t.Helper()
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestBroker_Kcat_ListsAndReads(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("REQUIRE_SERVICES") == "" {
		t.Skip("kcat is not installed (apt install kcat)")
	} else if err != nil {
		t.Fatal(err)
	}
	b := open(t, t.TempDir())
	c := client(t, b.Addr())
	makeTopic(t, c, "events")
	answer, err := c.Produce(t.Context(), &kafka.ProduceRequest{Topic: "events", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{
		Key: kafka.NewBytes([]byte("ten_acme")), Value: kafka.NewBytes([]byte(`{"name":"Acme"}`)),
		Headers: []kafka.Header{{Key: "ce_type", Value: []byte("tenantry.tenant.registered.v1")}},
	})})
	if err != nil || answer.Error != nil {
		t.Fatal(err, answer)
	}
	run := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), kcat, append([]string{"-b", b.Addr()}, args...)...)
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		if err != nil {
			t.Fatalf("kcat %v: %v: %s", args, err, stderr.String())
		}
		return string(out)
	}
	if got := run("-L"); !strings.Contains(got, `topic "events" with 1 partitions`) || !strings.Contains(got, b.Addr()) {
		t.Errorf("kcat -L answered\n%s, want the topic and the broker's address", got)
	}
	got := run("-C", "-t", "events", "-o", "beginning", "-e", "-q", "-f", "%k %h %s\n")
	if want := "ten_acme ce_type=tenantry.tenant.registered.v1 {\"name\":\"Acme\"}\n"; got != want {
		t.Errorf("kcat -C answered %q, want %q", got, want)
	}
}
