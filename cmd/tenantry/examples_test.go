package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// started are the commands whose examples start or change something that has tests of its own.
var started = []string{"dev", "catalogue", "region", "migrate", "replay"}

func TestHelp_EveryExampleOfAClient_RunsAgainstADevWithAcme(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	t.Setenv("TENANTRY_DATA_DIR", dir)
	t.Chdir(t.TempDir())
	writeFile(t, "tenants.ndjson", `{"id":"ten_new","name":"New","hostnames":["new.example"],"home_region":"eu-west"}`+"\n")
	writeFile(t, "tenantry.yaml", "log-format: json\n")
	here := strings.NewReplacer("http://127.0.0.1:8080", d.Addresses().Admin, "http://127.0.0.1:8081", d.Addresses().Regions["eu-west"],
		"http://127.0.0.1:8082", d.Addresses().Regions["us-east"], "http://old:8080", d.Addresses().Admin, "http://new:8080", d.Addresses().Admin)

	ran := 0
	for _, cmd := range commandsOf(newRoot()) {
		if slices.Contains(started, cmd.Name()) {
			continue
		}
		for line := range strings.Lines(cmd.Example) {
			if slices.Contains(started, strings.Fields(line)[1]) { // an example of all commands together
				continue
			}
			ran++
			command, _, _ := strings.Cut(here.Replace(strings.TrimSpace(line)), " > ")
			stdin := ""
			for part := range strings.SplitSeq(command, " | ") {
				r := tenantryWith(t.Context(), t, stdin, strings.Fields(part)[1:]...).exits(exitDone)
				stdin = r.stdout
			}
			if stdin == "" && !strings.Contains(line, "--status suspended") {
				t.Errorf("%s prints nothing", strings.TrimSpace(line))
			}
		}
	}
	if ran < 15 {
		t.Errorf("only %d examples were run: the test does not read them right", ran)
	}
}

func TestOperationsPage_SampleFiles_AreWhatConfigCheckTakes(t *testing.T) {
	sample := regexp.MustCompile(`(?m)^    # ([a-z]+\.yaml)\n((?:    .+\n)+)`)
	var names []string
	for _, m := range sample.FindAllStringSubmatch(readDoc(t, operations), -1) {
		name, content := m[1], strings.ReplaceAll("\n"+m[2], "\n    ", "\n")
		names = append(names, name)
		tenantry(t, "config", "check", "--config", file(t, name, content)).exits(exitDone)
	}
	if got, want := fmt.Sprint(names), "[tenantry.yaml catalogue.yaml region.yaml]"; got != want {
		t.Errorf("got the samples %s, want %s", got, want)
	}
}
