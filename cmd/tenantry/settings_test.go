package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// exporting is a server whose export is a word, to see which server was asked.
func exporting(t *testing.T, word string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(word)) }))
	t.Cleanup(func() {
		httpClient.CloseIdleConnections()
		server.Close()
	})
	return server.URL
}

func TestSettings_AFlagBeatsTheEnvironment_WhichBeatsTheFile(t *testing.T) {
	cfg := file(t, "tenantry.yaml", "admin: "+exporting(t, "file")+"\n")
	tenantry(t, "export", "--config", cfg).exits(exitDone).prints("file")

	t.Setenv("TENANTRY_ADMIN", exporting(t, "environment"))
	tenantry(t, "export", "--config", cfg).exits(exitDone).prints("environment")
	tenantry(t, "export", "--config", cfg, "--admin", exporting(t, "flag")).exits(exitDone).prints("flag")

	// The file itself can be named by the environment.
	t.Setenv("TENANTRY_CONFIG", file(t, "other.yaml", "log-level: loud\n"))
	tenantry(t, "export").exits(exitUsage, "other.yaml, line 1", "log-level", "one of debug, info, warn, error")
}

func TestSettings_TheFormatOfResults_IsOneToo(t *testing.T) {
	cfg := file(t, "tenantry.yaml", "output: json\n")
	tenantry(t, "version", "--config", cfg).exits(exitDone).prints(`"version":`)
	t.Setenv("TENANTRY_OUTPUT", "json")
	tenantry(t, "version").exits(exitDone).prints(`"version":`)
	if r := tenantry(t, "version", "--output", "text").exits(exitDone); strings.Contains(r.stdout, "{") {
		t.Errorf("the flag does not beat the environment: got %s", r.stdout)
	}
	t.Setenv("TENANTRY_OUTPUT", "yaml")
	tenantry(t, "version").exits(exitUsage, "TENANTRY_OUTPUT", "one of text, json")
}

func TestSettings_AValueThatIsWrong_IsRefusedWhereverItComesFrom(t *testing.T) {
	t.Setenv("TENANTRY_KAFKA_PARTITIONS", "0")
	tenantry(t, "dev", "--data-dir", t.TempDir()).exits(exitUsage, "TENANTRY_KAFKA_PARTITIONS", "from 1 to 1000")
	tenantry(t, "version").exits(exitDone) // it is no setting of this command
}

func TestConfigCheck_ReportsEverythingThatIsWrongAtOnce_EachWithItsPlace_InOrder(t *testing.T) {
	cfg := file(t, "tenantry.yaml", `# a comment
listen: 8080
nonsense: 1
region:
  - eu-west=127.0.0.1:8081
  - EU=127.0.0.1:8082
  - eu-west=127.0.0.1:8083
kafka-partitions: 5000
listen: 9090
log-level: info
kafka-brokers: [k1:9092, k2]
lisen: 127.0.0.1:8080
data-dir: [a, b]
home-regions: []
kafka-topic: {a: b}
trace-url: ftp://ada:hunter2@collector.example
`)
	t.Setenv("TENANTRY_LISTEN", "127.0.0.1:0") // beats the file, which is wrong all the same
	t.Setenv("TENANTRY_TRACE_URL", "collector:4318")
	t.Setenv("TENANTRY_KAFKA_PARTITIONS", "none")
	r := tenantry(t, "config", "check", "--config", cfg).exits(exitUsage, "15 faults")
	want := []string{
		`, line 2: listen: "8080": it is not HOST:PORT`,
		`, line 3: unknown key "nonsense": a key is the name of a flag`,
		`, line 6: region: "EU=127.0.0.1:8082": "EU": it is not a region's name`,
		`, line 7: region: "eu-west=127.0.0.1:8083": eu-west is given twice`,
		`, line 8: kafka-partitions: "5000": it is a whole number from 1 to 1000`,
		`, line 9: listen is set twice, in line 2 too`,
		`, line 9: listen: "9090": it is not HOST:PORT`,
		`, line 11: kafka-brokers: "k2": it is not HOST:PORT of a Kafka broker`,
		`, line 12: unknown key "lisen": is listen meant?`,
		`, line 13: data-dir takes one value, and here are 2`,
		`, line 14: home-regions is an empty list`,
		`, line 15: kafka-topic must be one value or a list of values`,
		`, line 16: trace-url: "ftp://ada:****@collector.example": it is not a URL`,
		`TENANTRY_KAFKA_PARTITIONS="none": it is a whole number`,
		`TENANTRY_TRACE_URL="collector:4318": it is not a URL`,
		`tenantry: 15 faults in the configuration`,
	}
	got := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if len(got) != len(want) || r.stdout != "" {
		t.Fatalf("got %d lines, want %d:\n%s%s", len(got), len(want), r.stderr, r.stdout)
	}
	for i := range want {
		if strings.HasPrefix(want[i], ",") {
			want[i] = cfg + want[i]
		}
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d: got %s\nwant %s", i+1, got[i], want[i])
		}
	}
	// No command runs with such a file, also not one that needs none of it.
	for _, args := range []string{"config print", "lookup a.example", "version"} {
		tenantry(t, append(strings.Fields(args), "--config", cfg)...).exits(exitUsage, `tenantry: `+cfg+`, line 3: unknown key "nonsense"`)
	}
}

func TestConfigCheck_OfFilesThatAreNone(t *testing.T) {
	for what, c := range map[string]struct {
		content string
		phrases []string
	}{
		"no YAML":               {"a: [1\n", []string{"tenantry.yaml, line 1: this is not YAML: "}},
		"no YAML further on":    {"listen: 127.0.0.1:0\n\tx: 1\n", []string{"tenantry.yaml, line 2: this is not YAML: "}},
		"a list":                {"- a\n- b\n", []string{"tenantry.yaml, line 1: the file must hold keys and values"}},
		"a word":                {"hello\n", []string{"tenantry.yaml, line 1: the file must hold keys and values"}},
		"a key twice":           {"listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", []string{"tenantry.yaml, line 2: listen is set twice, in line 1 too"}},
		"a value that is a map": {"listen:\n  host: a\n", []string{"tenantry.yaml, line 2: listen must be one value or a list"}},
		"a list in a list":      {"region: [[a]]\n", []string{"tenantry.yaml, line 1: region must be one value or a list"}},
		"no value":              {"listen:\n", []string{"tenantry.yaml, line 1: listen must be one value or a list"}},
		"a key that is a list":  {"[a, b]: 1\n", []string{"tenantry.yaml, line 1: unknown key"}},
		"two documents":         {"listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", []string{"tenantry.yaml, line 2: the file has a second document"}},
		"a broken second one":   {"listen: 127.0.0.1:1\n---\na: [\n", []string{"tenantry.yaml, line ", "this is not YAML"}},
		"a filter of one call":  {"status: active\n", []string{`tenantry.yaml, line 1: unknown key "status"`, "a flag that is a setting"}},
	} {
		t.Run(what, func(t *testing.T) {
			tenantry(t, "config", "check", "--config", file(t, "tenantry.yaml", c.content)).exits(exitUsage, append(c.phrases, "tenantry: 1 fault in the configuration\n")...)
		})
	}
	tenantry(t, "config", "check", "--config", t.TempDir()+"/none.yaml").exits(exitUsage, "--config: read the configuration: open ", "none.yaml")
	t.Setenv("TENANTRY_CONFIG", t.TempDir()+"/none.yaml")
	tenantry(t, "config", "check").exits(exitUsage, "TENANTRY_CONFIG: read the configuration: open ")
}

func TestConfigCheck_WhereNothingIsWrong_SaysWhatWasChecked(t *testing.T) {
	tenantry(t, "config", "check").exits(exitDone).prints("no file was checked: name one with --config\nenvironment: no setting in it\n")
	for _, content := range []string{"", "# nothing\n", "---\n"} {
		empty := file(t, "empty.yaml", content)
		tenantry(t, "config", "check", "--config", empty).exits(exitDone).prints(empty + ": 0 settings, valid\n")
	}
	t.Setenv("TENANTRY_LOG_LEVEL", "debug")
	good := file(t, "good.yaml", "listen: 127.0.0.1:0\nregion: [a=127.0.0.1:0, b=127.0.0.1:0]\nadmin: http://127.0.0.1:1\n")
	tenantry(t, "config", "check", "--config", good).exits(exitDone).
		prints(good + ": 3 settings, valid\nenvironment: 1 setting, valid (TENANTRY_LOG_LEVEL)\n")
}

func TestEnvironment_AVariableThatIsNoSetting_IsToldOfAndIgnored(t *testing.T) {
	t.Setenv("TENANTRY_LSITEN", "127.0.0.1:1")
	t.Setenv("TENANTRY_VERSION", "1.2.3")
	// What Kubernetes sets for a service of our name is nobody's mistake.
	t.Setenv("TENANTRY_SERVICE_HOST", "10.0.0.1")
	t.Setenv("TENANTRY_SERVICE_PORT_ADMIN", "8080")
	t.Setenv("TENANTRY_PORT", "tcp://10.0.0.1:8080")
	t.Setenv("TENANTRY_PORT_8080_TCP", "tcp://10.0.0.1:8080")
	t.Setenv("TENANTRY_PORT_8080_TCP_ADDR", "10.0.0.1")
	const typo = "the environment variable TENANTRY_LSITEN is no setting and is ignored: is TENANTRY_LISTEN meant?\n"
	const foreign = "the environment variable TENANTRY_VERSION is no setting and is ignored\n"
	for _, args := range []string{"version", "config check", "config print"} {
		r := tenantry(t, strings.Fields(args)...).exits(exitDone, "tenantry: warning: "+typo, "tenantry: warning: "+foreign)
		if strings.Count(r.stderr, "\n") != 2 {
			t.Errorf("%s: got %s", args, r.stderr)
		}
	}
	// A log that is JSON has to stay so.
	r := tenantry(t, "version", "--log-format", "json").exits(exitDone, "is TENANTRY_LISTEN meant?")
	for line := range strings.Lines(r.stderr) {
		if !strings.HasPrefix(line, "{") || !strings.Contains(line, `"level":"WARN"`) {
			t.Errorf("got %s, want JSON", line)
		}
	}
	t.Setenv("TENANTRY_PORT", "8080")
	tenantry(t, "version").exits(exitDone, "TENANTRY_PORT is no setting")
}

func TestFlagsOfOneCall_AreNotReadFromTheEnvironment(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.RawQuery
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
	defer server.Close()
	for _, name := range []string{"STATUS", "GROUP", "HOME_REGION", "VERSION", "AS_OF", "DRY_RUN"} {
		t.Setenv("TENANTRY_"+name, "suspended")
	}
	tenantry(t, "tenant", "list", "--admin", server.URL).exits(exitDone, "TENANTRY_STATUS is no setting and is ignored")
	if got := <-asked; got != "page_size=1000" {
		t.Errorf("tenant list asked with %q: the environment is in it", got)
	}
	tenantry(t, "tenant", "show", "ten_a", "--admin", server.URL).exits(exitDone, "TENANTRY_VERSION is no setting and is ignored")
	if got := <-asked; got != "" {
		t.Errorf("tenant show asked with %q: the environment is in it", got)
	}
}

func TestConfigPrint_ShowsWhatIsInForceAndWhereItCameFrom_SecretsMasked(t *testing.T) {
	cfg := file(t, "tenantry.yaml", "# first line\nlisten: 127.0.0.1:9\nregion:\n  - eu-west=127.0.0.1:1\n  - ap=127.0.0.1:2\ntrace-url: http://ada:hunter2@collector.example:4318/x\n")
	t.Setenv("TENANTRY_KAFKA_PARTITIONS", "24")
	t.Setenv("TENANTRY_LISTEN", "127.0.0.1:10")
	r := tenantry(t, "config", "print", "--config", cfg, "--log-level", "debug", "--output", "json").exits(exitDone)
	var rows []settingInForce
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]settingInForce)
	for _, row := range rows {
		row.Commands = ""
		got[row.Name] = row
	}
	for _, want := range []settingInForce{
		{Name: "listen", Value: "127.0.0.1:10", Source: "environment TENANTRY_LISTEN"},
		{Name: "region", Value: "eu-west=127.0.0.1:1,ap=127.0.0.1:2", Source: "file " + cfg + ", line 3"},
		{Name: "kafka-partitions", Value: "24", Source: "environment TENANTRY_KAFKA_PARTITIONS"},
		{Name: "kafka-topic", Value: "tenantry.events.v1", Source: "default"},
		{Name: "trace-url", Value: "http://ada:****@collector.example:4318/x", Source: "file " + cfg + ", line 6"},
		{Name: "log-level", Value: "debug", Source: "flag"},
	} {
		if got[want.Name] != want {
			t.Errorf("got %+v, want %+v", got[want.Name], want)
		}
	}
	for _, not := range notSettings {
		if _, there := got[not]; there {
			t.Errorf("%s is shown, which no file can set", not)
		}
	}
	text := tenantry(t, "config", "print", "--config", cfg).exits(exitDone).prints("listen:", "# environment TENANTRY_LISTEN", "# default")
	if strings.Contains(r.stdout+text.stdout, "hunter2") {
		t.Error("a password is shown")
	}
}

func TestSecrets_AreNotShownWhereTheyAreRefused(t *testing.T) {
	cfg := file(t, "tenantry.yaml", "trace-url: ftp://ada:hunter2@collector.example/x\n")
	r := tenantry(t, "config", "check", "--config", cfg).exits(exitUsage, "trace-url", "is not a URL")
	t.Setenv("TENANTRY_TRACE_URL", "ftp://ada:hunter2@collector.example/x")
	s := tenantry(t, "config", "check").exits(exitUsage, "TENANTRY_TRACE_URL", "is not a URL")
	if strings.Contains(r.stderr+s.stderr, "hunter2") {
		t.Errorf("a password is shown:\n%s%s", r.stderr, s.stderr)
	}
}

func TestMasked(t *testing.T) {
	for _, c := range [][3]string{
		{"data-dir", "./data", "./data"},
		{"database-url", "postgres://u:pw@h/d?sslmode=x", "postgres://u:****@h/d?sslmode=x"},
		{"database-url", "postgres://u@h/d", "postgres://u@h/d"},
		{"api-token", "abc", "****"},
		{"api-token", "", ""},
		{"api-token-file", "/etc/token", "/etc/token"},
		{"kafka-password", "abc", "****"},
		{"region", "a=127.0.0.1:0", "a=127.0.0.1:0"},
	} {
		if got := masked(c[0], c[1]); got != c[2] {
			t.Errorf("%s: %q is shown as %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
