package layers

// A row says what one package of the project may import of the others.
type row struct {
	// path is relative to the module. One that ends in "/..." stands for all packages below
	// it which have no row of their own.
	path string
	// may are paths of rows below this one. Rows are read from the bottom of the
	// architecture to the top, so a package can only ever look down.
	may []string
	// why the package is held to just these: what would be lost with another.
	why string
	// forTests marks what exists for tests. It may import any library, and only what is
	// marked as well, or a _test.go file, may import it.
	forTests bool
}

// table is the import table of ARCHITECTURE.md, lowest first.
var table = []row{
	{
		path: "schemas",
		why:  "the contract stands on nothing: other programs read it without any of our code",
	},
	{
		path: "internal/problem",
		why:  "both servers answer problems in one form; what went wrong is for the caller to know",
	},
	{
		path: "internal/strictjson",
		may:  []string{"internal/problem"},
		why:  "says where and how a document is malformed; what it means is for the caller to know",
	},
	{
		path: "internal/telemetry",
		why:  "metrics, traces and logs are set up before anything that uses them exists",
	},
	{
		path: "internal/diskspace",
		why:  "asks the kernel for room; two packages have a database on a disk, and neither may import the other",
	},
	{
		path: "internal/crashpoint",
		why:  "names moments to die at; it is nothing in what we ship",
	},
	{
		path: "internal/durable",
		why:  "writes files so that a power cut spares them; what they say is for the caller to know",
	},
	{
		path: "internal/giveway",
		why:  "counts the look-ups of the process, which know nothing of the bulk work that waits for them",
	},
	{
		path: "internal/broker",
		why:  "an embedded Kafka is a Kafka: one that knew our events could hide what a real one does not do",
	},
	{
		path:     "internal/testservers",
		may:      []string{"internal/broker"},
		why:      "starts servers for tests, and knows nothing of what the tests will say to them",
		forTests: true,
	},
	{
		path:     "internal/testservers/run",
		may:      []string{"internal/testservers"},
		why:      "starts the servers once for a whole run of tests; what it started by itself, a single test could not",
		forTests: true,
	},
	{
		path:     "schemas/schematest",
		may:      []string{"schemas"},
		why:      "holds requests, answers and events against the contract, not against our types",
		forTests: true,
	},
	{
		path: "events",
		may:  []string{"schemas"},
		why:  "the ground of both sides: whatever it imported, every package would",
	},
	{
		path:     "events/eventstest",
		may:      []string{"schemas", "events"},
		why:      "makes events and histories for tests of any package, so it cannot stand above one",
		forTests: true,
	},
	{
		path:     "events/storetest",
		may:      []string{"events", "events/eventstest"},
		why:      "the contract's suite takes a factory, so that it tests any store and names none",
		forTests: true,
	},
	{
		path: "internal/appendqueue",
		may:  []string{"events"},
		why:  "where appends wait is the same for every store, and knows none",
	},
	{
		path: "events/embedded",
		may:  []string{"events", "internal/appendqueue", "internal/diskspace", "internal/crashpoint", "internal/durable"},
		why:  "a store keeps events; it neither decides them nor knows who reads them",
	},
	{
		path: "events/postgres",
		may:  []string{"events", "internal/appendqueue", "internal/crashpoint"},
		why:  "a store keeps events; it neither decides them nor knows who reads them",
	},
	{
		path: "events/remote",
		may:  []string{"events", "internal/problem"},
		why:  "reads a catalogue by its published contract alone, so that a region and a catalogue need not be of one version",
	},
	{
		path: "events/kafka",
		may:  []string{"events"},
		why:  "carries records either way for relay and projections, and imports neither",
	},
	{
		path: "events/relay",
		may:  []string{"events", "events/kafka", "internal/crashpoint"},
		why:  "moves what is stored as it is: it must run when commands and projections cannot",
	},
	{
		path: "commands",
		may:  []string{"events"},
		why:  "decides on the store's truth alone: a read model is behind, and would decide wrongly",
	},
	{
		path: "commands/adminapi",
		may:  []string{"schemas", "events", "commands", "internal/strictjson", "internal/problem", "internal/telemetry", "internal/diskspace", "internal/giveway"},
		why:  "parses, calls a command, writes the answer, and says so where it is the disk that is full; it works while Kafka and every region are away",
	},
	{
		path: "projections/readmodel",
		may:  []string{"events", "internal/diskspace", "internal/crashpoint", "internal/giveway", "internal/durable"},
		why:  "documents, indexes and checkpoints; where the events came from is not its business, so that replay can write one too",
	},
	{
		path: "projections",
		may:  []string{"events", "events/kafka", "projections/readmodel", "internal/crashpoint"},
		why:  "folds what Kafka brings, and asks the store for what is missing through an interface of its own: a region needs no write side",
	},
	{
		path: "replay",
		may:  []string{"events", "projections", "projections/readmodel", "internal/diskspace", "internal/crashpoint"},
		why:  "goes around Kafka: a rebuild that needed it could not mend its loss; it asks for room before it begins; tests kill it where that is worst",
	},
	{
		path: "queryapi",
		may:  []string{"schemas", "events", "projections", "projections/readmodel", "internal/strictjson", "internal/problem", "internal/telemetry", "internal/giveway"},
		why:  "answers from the read model alone: promise 4 breaks with the first call upstream",
	},
	{
		path: "client",
		why:  "is linked into other people's programs, and speaks to us by the published contract only",
	},
	{
		path: "internal/daemon",
		may: []string{
			"schemas", "events", "events/embedded", "events/postgres", "events/remote", "events/kafka", "events/relay",
			"commands", "commands/adminapi", "projections", "projections/readmodel", "replay", "queryapi",
			"internal/durable", "internal/strictjson", "internal/problem", "internal/telemetry", "internal/broker",
		},
		why: "the wiring: the one place that sees all parts, so that no part needs to see another",
	},
	{
		path: "cmd/tenantry",
		may:  []string{"schemas", "events", "client", "replay", "internal/daemon", "internal/strictjson", "internal/problem", "internal/telemetry"},
		why:  "flags, output (replay's reports among it) and exit codes; what it wires itself, the system tests would not run",
	},
	{
		path: "internal/roster",
		may:  []string{"events"},
		why:  "writes the example roster as input that a stranger could have sent: it shares the names' normal form and nothing else",
	},
	{
		path: "internal/layers",
		why:  "this test; it reads the tree as text",
	},
	{
		path:     "tests/...",
		may:      []string{anything},
		why:      "the whole system is its subject",
		forTests: true,
	},
	{
		path:     "bench/...",
		may:      []string{anything},
		why:      "the whole system is its subject",
		forTests: true,
	},
}

// anything in a row's may lets it import every package of the project below it.
const anything = "*"

// A home says where a library may be imported.
type home struct {
	library string   // the import path, and all below it
	in      []string // rows
	why     string
}

// homes are the libraries that must not spread: each is a decision that we want to be able
// to take back in one place.
var homes = []home{
	{"github.com/dgraph-io/badger", []string{"events/embedded", "projections/readmodel"}, "keys, transactions and their limits stay with the two packages that own a directory on disk"},
	{"github.com/segmentio/kafka-go", []string{"events/kafka"}, "its traps (docs in events/kafka) are avoided once, there"},
	{"github.com/jackc/pgx", []string{"events/postgres", "internal/testservers"}, "SQL stays behind events.Store, which the embedded store implements as well"},
	{"github.com/pressly/goose", []string{"events/postgres"}, "a schema's migrations are the business of the one store that has a schema"},
	{"github.com/labstack/echo", []string{"commands/adminapi", "queryapi"}, "its support ends; handlers that parse, call and write are all that has to move on"},
	{"github.com/twmb/franz-go", []string{"internal/broker"}, "kfake is the embedded broker; our own client of Kafka is events/kafka"},
	{"github.com/spf13/cobra", []string{"cmd/tenantry"}, "flags belong to the command line; below it, configuration is a struct"},
	{"go.opentelemetry.io/otel/sdk", []string{"internal/telemetry"}, "a package traces by the API; which exporter runs is decided once per process"},
	{"go.opentelemetry.io/otel/exporters", []string{"internal/telemetry"}, "a package traces by the API; which exporter runs is decided once per process"},
}

// testLibraries stay out of every program that we ship. In a server they bring their flags,
// their global state and their will to panic.
var testLibraries = []string{
	"testing",
	"net/http/httptest",
	"github.com/ThreeDotsLabs/watermill/pubsub/tests",
	"github.com/Shopify/toxiproxy",
	"github.com/anishathalye/porcupine",
	"github.com/stretchr/testify",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
}

// A closure says what a package may link in all, dependencies of dependencies included.
type closure struct {
	path string
	may  []string // import paths outside of the standard library, and all below them
	why  string
}

var closures = []closure{
	{
		path: "client",
		may:  nil,
		why:  "whoever adds the SDK to a program takes all its dependencies with it",
	},
}
