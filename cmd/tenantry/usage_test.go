package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// commandsOf are all commands below one, and itself.
func commandsOf(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		all = append(all, commandsOf(sub)...)
	}
	return all
}

func TestHelp_OfEveryCommand_HasAnExampleThatRunsIt(t *testing.T) {
	for _, cmd := range commandsOf(newRoot()) {
		path := strings.Fields(cmd.CommandPath())
		r := tenantry(t, append(path[1:], "--help")...).exits(exitDone).prints("Examples:", "Usage:")
		if cmd.Short == "" {
			t.Errorf("%s says nothing of itself", cmd.CommandPath())
		}
		// An example has to be of this command, and of flags that there are.
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: the example is of another command:\n%s", cmd.CommandPath(), cmd.Example)
		}
		for word := range strings.FieldsSeq(cmd.Example) {
			if name, ok := strings.CutPrefix(word, "--"); ok && !strings.Contains(r.stdout, "--"+name+" ") && allFlags()[name] == nil && name != "config" && name != "output" {
				t.Errorf("%s: the example has %s, which is no flag", cmd.CommandPath(), word)
			}
		}
		if !strings.Contains(r.stdout, strings.TrimSpace(strings.Split(cmd.Example, "\n")[0])) {
			t.Errorf("%s --help does not show its example:\n%s", cmd.CommandPath(), r.stdout)
		}
	}
}

func TestEveryFlag_SaysWhatItIs(t *testing.T) {
	for name, f := range allFlags() {
		if f.Usage == "" {
			t.Errorf("--%s says nothing of itself", name)
		}
	}
}

func TestWrongUsage_ExitsWith2_AndSaysWhatIsRight(t *testing.T) {
	for _, c := range []struct {
		args  string
		wants string
	}{
		{"nonsense", `unknown command "nonsense"`},
		{"--nonsense", "unknown flag: --nonsense"},
		{"dev extra", "tenantry dev --help"},
		{"dev --listen 8080", "is not HOST:PORT"},
		{"dev --listen 127.0.0.1:http", "is not HOST:PORT"},
		{"dev --listen 127.0.0.1:65536", "is not HOST:PORT"},
		{"dev --region eu-west", "is not NAME=HOST:PORT"},
		{"dev --region EU=127.0.0.1:0", "is not a region's name"},
		{"dev --region a=127.0.0.1:0 --region a=127.0.0.1:0", "a is given twice"},
		{"dev --kafka-partitions 0", "a whole number from 1 to 1000"},
		{"dev --kafka-partitions many", "a whole number from 1 to 1000"},
		{"dev --home-regions A_B", "is not a region's name"},
		{"dev --kafka-brokers localhost", "is not HOST:PORT"},
		{"dev --trace-url localhost:4318", "is not a URL"},
		{"dev --log-level loud", "one of debug, info, warn, error"},
		{"dev --log-format xml", "one of text, json"},
		{"import", "accepts 1 arg"},
		{"import a b", "accepts 1 arg"},
		{"import - --output xml", "one of text, json"},
		{"import - --admin 127.0.0.1:8080", "is not a URL"},
		{"export x", "unknown command"},
		{"lookup", "requires at least 1 arg"},
		{"lookup a.example --query ftp://x", "is not a URL"},
		{"tenant nonsense", `unknown command "nonsense" for "tenantry tenant"`},
		{"tenant show", "accepts 1 arg"},
		{"tenant show ten_a --version -1", "a whole number"},
		{"tenant events", "accepts 1 arg"},
		{"tenant list x", "unknown command"},
		{"status x", "unknown command"},
		{"config nonsense", `unknown command "nonsense" for "tenantry config"`},
		{"version x", "unknown command"},
	} {
		r := tenantry(t, strings.Fields(c.args)...).exits(exitUsage, "tenantry: ", c.wants)
		if r.stdout != "" {
			t.Errorf("%s: printed %q", c.args, r.stdout)
		}
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: got more than one line: %q", c.args, r.stderr)
		}
	}
}

func TestCommandsThatOnlyGroupOthers_ShowWhatThereIs(t *testing.T) {
	tenantry(t).exits(exitDone).prints("dev", "import", "export", "lookup", "tenant", "status", "config", "version")
	tenantry(t, "tenant").exits(exitDone).prints("show", "events", "list")
	tenantry(t, "config").exits(exitDone).prints("check", "print")
}

func TestVersion_SaysVersionCommitAndGo(t *testing.T) {
	tenantry(t, "version").exits(exitDone).prints("tenantry ", "commit ", runtime.Version())
	var v map[string]string
	r := tenantry(t, "version", "--output", "json").exits(exitDone)
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v["go"] != runtime.Version() || v["version"] == "" || v["commit"] == "" || len(v) != 3 {
		t.Errorf("got %s, %v", r.stdout, err)
	}
}
