package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const operations = "../../docs/operations.md"

func TestOperationsPage_ListsEverySettingWithItsDefault_AndNoOther(t *testing.T) {
	page := readDoc(t, operations)
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([^|]+) \\| ")
	_, table, _ := strings.Cut(page, "| setting | default | what |")
	table, _, _ = strings.Cut(table, "\n\n")
	listed := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		listed[m[1]] = m[2]
	}
	flags := allFlags()
	for name, variants := range flags {
		said, ok := listed[name]
		if !ok {
			t.Errorf("%s has no row for the setting %s", operations, name)
			continue
		}
		var defaults []string
		for _, v := range variants {
			is := cmp.Or(v.Value.String(), "none")
			if len(variants) > 1 {
				is += " (" + strings.Join(v.commands, ", ") + ")"
			}
			defaults = append(defaults, is)
		}
		is := strings.Join(defaults, "; ")
		if is == "none" && !strings.HasPrefix(said, "none") && !strings.HasPrefix(said, "that of ") || is != "none" && said != is {
			t.Errorf("%s says that %s is %q, and it is %q", operations, name, said, is)
		}
	}
	for name := range listed {
		if flags[name] == nil {
			t.Errorf("%s lists %s, which is no setting", operations, name)
		}
	}
	for _, name := range notSettings {
		if name != "help" && name != "config" && !strings.Contains(page, "`--"+name+"`") {
			t.Errorf("%s does not say that --%s is no setting", operations, name)
		}
	}
}

// metricName is a metric of ours, perhaps with what Prometheus appends to a histogram's name.
var metricName = regexp.MustCompile(`\btenantry_[a-z_]+[a-z]\b`)

func TestOperationsPage_NamesOnlyMetricsThatDevHas(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	post(t, d.Addresses().Admin+"/v1/tenants/ten_acme/suspend")
	region := d.Addresses().Regions["eu-west"]
	body(t, region+"/v1/lookup/nobody.example")

	known := make(map[string]bool)
	for _, url := range []string{d.Addresses().Admin, region, d.Addresses().Regions["us-east"]} {
		for line := range strings.Lines(body(t, url+"/metrics")) {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
				name, kind, _ := strings.Cut(strings.TrimSpace(name), " ")
				known[name] = true
				if kind == "histogram" {
					known[name+"_bucket"], known[name+"_sum"], known[name+"_count"] = true, true, true
				}
			}
		}
	}
	named := metricName.FindAllString(readDoc(t, operations), -1)
	if len(named) < 10 {
		t.Fatalf("got %d metrics from %s: the test does not read it right", len(named), operations)
	}
	for _, name := range named {
		if strings.HasSuffix(name, "_owner") || strings.HasSuffix(name, "_writer") || strings.HasSuffix(name, "_reader") {
			continue // a role of PostgreSQL
		}
		if !known[name] {
			t.Errorf("%s names %s, which dev does not have; it has %s", operations, name, strings.Join(slices.Sorted(maps.Keys(known)), " "))
		}
	}
}

func TestOperationsPage_AlertsArePromQL_AsPromtoolReadsIt(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\d+m) \\| ").FindAllStringSubmatch(readDoc(t, operations), -1)
	if len(rows) < 5 {
		t.Fatalf("got %d alerts from %s: the test does not read it right", len(rows), operations)
	}
	promtool, err := exec.LookPath("promtool")
	if errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatal("promtool is needed: install the package prometheus")
		}
		t.Skip("promtool is not installed (the package prometheus)")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: tenantry\n  rules:\n")
	for i, r := range rows {
		fmt.Fprintf(&rules, "  - alert: Row%d\n    expr: %s\n    for: %s\n", i+1, r[1], r[2])
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	writeFile(t, path, rules.String())
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v: %s\n%s", err, out, rules.String())
	}
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := httpClient.Get(url)
	return answered(t, resp, err)
}

func post(t *testing.T, url string) string {
	t.Helper()
	resp, err := httpClient.Post(url, "application/json", http.NoBody)
	return answered(t, resp, err)
}

func answered(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
