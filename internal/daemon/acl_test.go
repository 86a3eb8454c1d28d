package daemon

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"github.com/tenantry/tenantry/internal/testservers"
)

// right is one line of kafka-acls.sh in docs/operations.md.
type right struct {
	user      string
	operation kafka.ACLOperationType
	on        kafka.ResourceType
	name      string
}

// entry is the right as Kafka's protocol has it.
func (r right) entry() kafka.ACLEntry {
	return kafka.ACLEntry{
		ResourceType: r.on, ResourceName: r.name, ResourcePatternType: kafka.PatternTypeLiteral,
		Principal: "User:" + r.user, Host: "*", Operation: r.operation, PermissionType: kafka.ACLPermissionTypeAllow,
	}
}

// heard is a log that several goroutines write to.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

func (h *heard) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// says waits until a text is logged.
func (h *heard) says(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for !strings.Contains(h.String(), text) {
		select {
		case <-late:
			t.Fatalf("nobody logged %q: %s", text, h)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// leastRights are those of docs/operations.md. READ and WRITE have DESCRIBE in them.
func leastRights(topic string) []right {
	return []right{
		{"catalogue", kafka.ACLOperationTypeCreate, kafka.ResourceTypeTopic, topic},
		{"catalogue", kafka.ACLOperationTypeDescribeConfigs, kafka.ResourceTypeTopic, topic},
		{"catalogue", kafka.ACLOperationTypeRead, kafka.ResourceTypeTopic, topic},
		{"catalogue", kafka.ACLOperationTypeWrite, kafka.ResourceTypeTopic, topic},
		{"catalogue", kafka.ACLOperationTypeWrite, kafka.ResourceTypeTransactionalID, "tenantry-relay-" + topic},
		{"catalogue", kafka.ACLOperationTypeRead, kafka.ResourceTypeGroup, "tenantry-replay-" + topic},
		{"region", kafka.ACLOperationTypeRead, kafka.ResourceTypeTopic, topic},
	}
}

func TestKafkaRights_TheLeastOnesSuffice_AndOneThatIsMissingIsNamed(t *testing.T) {
	users := map[string]string{"catalogue": "of the catalogue", "region": "of the region"}
	k := testservers.NewKafka(t, testservers.KafkaOptions{Users: users, Authorize: true})
	transport := new(kafka.Transport)
	defer transport.CloseIdleConnections()
	admin := &kafka.Client{Addr: kafka.TCP(k.Brokers(testservers.Plaintext)...), Transport: transport}
	// with grants all rights but one, on a topic of its own.
	with := func(t *testing.T, without func(right) bool) (as func(user string) Kafka, database Database) {
		t.Helper()
		topic := "t" + uuid.NewString()
		var entries []kafka.ACLEntry
		for _, r := range leastRights(topic) {
			if !without(r) {
				entries = append(entries, r.entry())
			}
		}
		answer, err := admin.CreateACLs(t.Context(), &kafka.CreateACLsRequest{ACLs: entries})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range answer.Errors {
			if err != nil {
				t.Fatal(err)
			}
		}
		database.URL = testservers.Database(t)
		if _, err := Migrate(t.Context(), MigrateConfig{Database: database, Logger: silent}); err != nil {
			t.Fatal(err)
		}
		return func(user string) Kafka {
			return Kafka{
				Brokers: k.Brokers(testservers.SASLPlaintext), Topic: topic, Partitions: 2,
				Mechanism: "SCRAM-SHA-256", User: user, Password: users[user],
			}
		}, database
	}
	catalogue := func(t *testing.T, k Kafka, database Database, log *heard) (*CatalogueServer, error) {
		t.Helper()
		c, err := OpenCatalogueServer(t.Context(), CatalogueServerConfig{Listen: "127.0.0.1:0", Database: database, Kafka: k, Observed: Observed{Logger: log.logger()}})
		if err == nil {
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		return c, err
	}
	node := func(t *testing.T, k Kafka, database Database, log *heard) *RegionServer {
		t.Helper()
		r, err := OpenRegionServer(t.Context(), RegionServerConfig{
			Region: "eu-west", DataDir: t.TempDir(), Listen: "127.0.0.1:0", Kafka: k, Source: Source{URL: database.URL}, Observed: Observed{Logger: log.logger()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return r
	}
	replay := func(t *testing.T, c *CatalogueServer) {
		t.Helper()
		if status, body, err := send(t.Context(), "POST", c.URL()+"/v1/topic/replay", `{}`); err != nil || status != http.StatusOK {
			t.Fatalf("replay the topic: %d %v %s", status, err, body)
		}
	}

	t.Run("none", func(t *testing.T) {
		var log heard
		as, database := with(t, func(right) bool { return false })
		c, err := catalogue(t, as("catalogue"), database, &log)
		if err != nil {
			t.Fatal(err)
		}
		n := node(t, as("region"), database, &log)
		becomes(t, n.URL()+"/readyz", http.StatusOK, "")
		registerAt(t, c.URL(), "a")
		becomes(t, n.URL()+"/v1/lookup/a.example", http.StatusOK, "ten_a")
		replay(t, c)
		if strings.Contains(strings.ToLower(log.String()), "authoriz") || strings.Contains(log.String(), "kafka-acls") {
			t.Errorf("a right is missing: %s", &log)
		}
	})
	for _, row := range []struct {
		missing right // its user, operation and resource type
		says    string
		starts  bool
		then    func(t *testing.T, c *CatalogueServer)
	}{
		{right{"catalogue", kafka.ACLOperationTypeCreate, kafka.ResourceTypeTopic, ""}, "CREATE", false, nil},
		{right{"catalogue", kafka.ACLOperationTypeDescribeConfigs, kafka.ResourceTypeTopic, ""}, "DESCRIBE_CONFIGS", false, nil},
		{right{"catalogue", kafka.ACLOperationTypeRead, kafka.ResourceTypeTopic, ""}, "READ", true, nil},
		{right{"catalogue", kafka.ACLOperationTypeWrite, kafka.ResourceTypeTopic, ""}, "WRITE", true, nil},
		{right{"catalogue", kafka.ACLOperationTypeWrite, kafka.ResourceTypeTransactionalID, ""}, "WRITE of TransactionalId", true, nil},
		{right{"catalogue", kafka.ACLOperationTypeRead, kafka.ResourceTypeGroup, ""}, "READ of the group", true, replay},
	} {
		t.Run(row.says, func(t *testing.T) {
			var log heard
			as, database := with(t, func(r right) bool { r.name = ""; return r == row.missing })
			c, err := catalogue(t, as("catalogue"), database, &log)
			if !row.starts {
				if err == nil || !strings.Contains(err.Error(), row.says) {
					t.Errorf("the start: got %v, want an error that names %s", err, row.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			registerAt(t, c.URL(), "a") // commands are taken all the same
			if row.then != nil {
				becomes(t, c.URL()+"/readyz?verbose", http.StatusOK, "ready")
				n := node(t, as("region"), database, new(heard))
				becomes(t, n.URL()+"/v1/lookup/a.example", http.StatusOK, "ten_a")
				row.then(t, c)
			}
			if row.says == "READ" { // what a relay reads is what one before it wrote
				late := time.After(time.Minute)
				for c.catalogue.Relay().Status().Published == 0 {
					select {
					case <-late:
						t.Fatalf("nothing is published: %+v", c.catalogue.Relay().Status())
					case <-time.After(10 * time.Millisecond):
					}
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := catalogue(t, as("catalogue"), database, &log); err != nil {
					t.Fatal(err)
				}
			}
			log.says(t, row.says)
		})
	}
	t.Run("a region's", func(t *testing.T) {
		var log heard
		as, database := with(t, func(r right) bool { return r.user == "region" })
		if _, err := catalogue(t, as("catalogue"), database, new(heard)); err != nil {
			t.Fatal(err)
		}
		node(t, as("region"), database, &log)
		log.says(t, "a region needs READ")
	})
}
