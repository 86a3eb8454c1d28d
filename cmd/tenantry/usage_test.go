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
	for name, variants := range allFlags() {
		for _, f := range variants {
			if f.Usage == "" {
				t.Errorf("--%s of %s says nothing of itself", name, f.commands)
			}
		}
	}
}

func TestWrongUsage_ExitsWith2_AndSaysWhatIsRight(t *testing.T) {
	for _, c := range []struct {
		args  string
		wants string
	}{
		{"nonsense", "there is no command 'tenantry nonsense'"},
		{"lokup a.example", "is 'tenantry lookup' meant?"},
		{"help nonsense", "there is no command 'tenantry nonsense'"},
		{"help tenant shwo", "is 'tenantry tenant show' meant?"},
		{"completion nonsense", "there is no command 'tenantry completion nonsense'"},
		{"completion bash x", "takes no arguments"},
		{"--nonsense", "unknown flag: --nonsense"},
		{"dev extra", "takes no arguments, and got \"extra\"; see 'tenantry dev --help'"},
		{"dev --listen", "flag needs an argument: --listen"},
		{"dev --listen 8080", "--listen \"8080\": it is not HOST:PORT, such as 127.0.0.1:8080"},
		{"dev --listen 127.0.0.1:http", "is not HOST:PORT"},
		{"dev --listen 127.0.0.1:65536", "is not HOST:PORT"},
		{"dev --region eu-west", "is not NAME=HOST:PORT"},
		{"dev --region EU=127.0.0.1:0", "is not a region's name"},
		{"dev --region a=8081", "is not HOST:PORT"},
		{"dev --region a=127.0.0.1:0 --region a=127.0.0.1:0", "a is given twice"},
		{"dev --region a=127.0.0.1:0,b=127.0.0.1:0,b=127.0.0.1:1", "b is given twice"},
		{"dev --region=", "name one region at least"},
		{"dev --region=,", "name one region at least"},
		{"dev --kafka-partitions 0", "a whole number from 1 to 1000"},
		{"dev --kafka-partitions many", "a whole number from 1 to 1000"},
		{"dev --home-regions A_B", "is not a region's name"},
		{"dev --kafka-brokers localhost", "it is not HOST:PORT of a Kafka broker, such as kafka-1.example:9092; give several separated by commas"},
		{"dev --kafka-brokers k1:9092,k2", `"k2": it is not HOST:PORT of a Kafka broker`},
		{"dev --kafka-brokers k1:0", "it is not HOST:PORT of a Kafka broker"},
		{"dev --trace-url localhost:4318", "is not a URL"},
		{"dev --data-dir=", `--data-dir "": it needs a directory, such as ./tenantry-data; see 'tenantry dev --help'`},
		{"region --data-dir=", "it needs a directory"},
		{"status --data-dir=", "it needs a directory"},
		{"dev --log-level loud", "one of debug, info, warn, error"},
		{"dev --log-format xml", "one of text, json"},
		{"dev --config none.yaml", "--config: read the configuration: open none.yaml"},
		{"import", "give a file to import, or - for standard input, such as 'tenantry import tenants.ndjson'"},
		{"import a b", `nothing else: "b" is too much`},
		{"import - --output xml", "one of text, json"},
		{"import - --admin 127.0.0.1:8080", "is not a URL"},
		{"export x", "takes no arguments"},
		{"lookup", "give a hostname or several, such as 'tenantry lookup acme.example'"},
		{"lookup a.example --query ftp://x", "is not a URL"},
		{"tenant nonsense", "there is no command 'tenantry tenant nonsense'"},
		{"tenant show", "give the ID of a tenant, such as 'tenantry tenant show ten_acme'"},
		{"tenant show acme.example", "'tenantry lookup' finds a tenant by its hostname"},
		{"tenant show ../../etc", "is not a tenant ID"},
		{"tenant show ten_a --version -1", "a whole number"},
		{"tenant show ten_a --as-of yesterday", "it is not a time such as 2027-01-31T12:00:00Z"},
		{"tenant show ten_a --version 1 --as-of 2027-01-31T12:00:00Z", "give one of them"},
		{"tenant events", "give the ID of a tenant"},
		{"tenant list x", "takes no arguments"},
		{"tenant list --status sleeping", "it is one of registered, active, suspended, deactivated, purged"},
		{"tenant list --group early", "it is not a group's ID"},
		{"tenant list --home-region EU", "it is not a region's name"},
		{"status x", "takes no arguments"},
		{"config nonsense", "there is no command 'tenantry config nonsense'"},
		{"config check x", "takes no arguments"},
		{"version x", "takes no arguments"},
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

func TestHelpAndCompletion_AreThere(t *testing.T) {
	tenantry(t, "help", "tenant", "show").exits(exitDone).prints("Show one tenant", "--as-of")
	tenantry(t, "help").exits(exitDone).prints("Available Commands:")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		tenantry(t, "completion", shell).exits(exitDone).prints("tenantry")
	}
}

func TestUsage_APasswordOfAValueThatIsRefused_IsNotShown(t *testing.T) {
	r := tenantry(t, "dev", "--trace-url", "ftp://ada:hunter2@collector.example").exits(exitUsage, "ftp://ada:****@collector.example", "is not a URL")
	if strings.Contains(r.stderr, "hunter2") {
		t.Errorf("got %s", r.stderr)
	}
}

func TestVersion_SaysVersionCommitAndGo(t *testing.T) {
	plain := tenantry(t, "version").exits(exitDone).prints("tenantry ", "commit ", runtime.Version())
	if flag := tenantry(t, "--version").exits(exitDone); flag.stdout != plain.stdout {
		t.Errorf("--version prints %q, and version %q", flag.stdout, plain.stdout)
	}
	var v map[string]string
	r := tenantry(t, "version", "--output", "json").exits(exitDone)
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v["go"] != runtime.Version() || v["version"] == "" || v["commit"] == "" || len(v) != 3 {
		t.Errorf("got %s, %v", r.stdout, err)
	}
}
