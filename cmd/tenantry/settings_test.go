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

func TestSettings_AValueThatIsWrong_IsRefusedWhereverItComesFrom(t *testing.T) {
	t.Setenv("TENANTRY_KAFKA_PARTITIONS", "0")
	tenantry(t, "dev", "--data-dir", t.TempDir()).exits(exitUsage, "TENANTRY_KAFKA_PARTITIONS", "from 1 to 1000")
	tenantry(t, "version").exits(exitDone) // it is no setting of this command
}

func TestConfigCheck_ReportsEverythingThatIsWrongAtOnce(t *testing.T) {
	cfg := file(t, "tenantry.yaml", `# a comment
listen: 8080
nonsense: 1
region:
  - eu-west=127.0.0.1:8081
  - EU=127.0.0.1:8082
kafka-partitions: 5000
log-level: info
more-nonsense: [a, b]
`)
	t.Setenv("TENANTRY_TRACE_URL", "collector:4318")
	r := tenantry(t, "config", "check", "--config", cfg).exits(exitUsage,
		"line 3", `"nonsense"`, "line 9", `"more-nonsense"`,
		cfg+", line 2: listen", "is not HOST:PORT",
		cfg+", line 4: region", "is not a region's name",
		cfg+", line 7: kafka-partitions", "from 1 to 1000",
		"TENANTRY_TRACE_URL", "is not a URL")
	if n := strings.Count(r.stderr, "\n"); n != 6 {
		t.Errorf("got %d lines, want one for each of 6 faults:\n%s", n, r.stderr)
	}
	tenantry(t, "config", "print", "--config", cfg).exits(exitUsage, `"nonsense"`)
	tenantry(t, "lookup", "a.example", "--config", cfg).exits(exitUsage, `unknown key "nonsense"`, `unknown key "more-nonsense"`)
}

func TestConfigCheck_OfFilesThatAreNone(t *testing.T) {
	for what, c := range map[string]struct {
		content string
		phrases []string
	}{
		"no YAML":               {"a: [1\n", []string{"tenantry.yaml"}},
		"a list":                {"- a\n- b\n", []string{"line 1", "keys and values"}},
		"a word":                {"hello\n", []string{"line 1", "keys and values"}},
		"a key twice":           {"listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", []string{"line 2", "listen is set twice"}},
		"a value that is a map": {"listen:\n  host: a\n", []string{"line 2", "one value or a list"}},
		"a list in a list":      {"region: [[a]]\n", []string{"line 1", "one value or a list"}},
		"no value":              {"listen:\n", []string{"line 1", "one value or a list"}},
	} {
		t.Run(what, func(t *testing.T) {
			tenantry(t, "config", "check", "--config", file(t, "tenantry.yaml", c.content)).exits(exitUsage, c.phrases...)
		})
	}
	tenantry(t, "config", "check", "--config", t.TempDir()+"/none.yaml").exits(exitUsage, "none.yaml")
	tenantry(t, "config", "check", "--config", file(t, "empty.yaml", "")).exits(exitDone).prints("valid")
	tenantry(t, "config", "check").exits(exitDone).prints("valid")
	tenantry(t, "config", "check", "--config", file(t, "good.yaml", "listen: 127.0.0.1:0\nregion: [a=127.0.0.1:0, b=127.0.0.1:0]\nadmin: http://127.0.0.1:1\n")).
		exits(exitDone).prints("valid")
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
		got[row.Name] = row
	}
	for _, want := range []settingInForce{
		{"listen", "127.0.0.1:10", "environment TENANTRY_LISTEN"},
		{"region", "eu-west=127.0.0.1:1,ap=127.0.0.1:2", "file " + cfg + ", line 3"},
		{"kafka-partitions", "24", "environment TENANTRY_KAFKA_PARTITIONS"},
		{"kafka-topic", "tenantry.events.v1", "default"},
		{"trace-url", "http://ada:****@collector.example:4318/x", "file " + cfg + ", line 6"},
		{"log-level", "debug", "flag"},
	} {
		if got[want.Name] != want {
			t.Errorf("got %+v, want %+v", got[want.Name], want)
		}
	}
	for _, not := range []string{"help", "config", "output"} {
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
