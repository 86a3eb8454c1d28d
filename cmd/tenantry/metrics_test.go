package main

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetrics_OfADevThatHasWorked_HaveSaneNamesAndHelp(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	post(t, d.Addresses().Admin+"/v1/tenants/ten_acme/suspend")
	body(t, d.Addresses().Regions["eu-west"]+"/v1/lookup/acme.example")

	text := body(t, d.Addresses().Admin+"/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	// What an operator has to be able to ask from the first day.
	for _, name := range []string{
		"tenantry_commands_total", "tenantry_command_duration_seconds", "tenantry_store_append_batches", "tenantry_store_append_events",
		"tenantry_relay_lag_events", "tenantry_relay_lag_seconds",
		"tenantry_projection_position", "tenantry_projection_staleness_seconds", "tenantry_projection_visible_seconds",
		"tenantry_projection_quarantined_streams", "tenantry_projection_gaps_total", "tenantry_projection_gap_events_healed_total",
		"tenantry_lookups_total", "tenantry_lookup_seconds",
	} {
		if !strings.Contains(text, "\n# TYPE "+name+" ") {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, region := range []string{"eu-west", "us-east"} {
		for _, name := range []string{"tenantry_projection_position", "tenantry_projection_staleness_seconds"} {
			if !strings.Contains(text, "\n"+name+`{region="`+region+`"} `) {
				t.Errorf("%s does not tell of %s", name, region)
			}
		}
	}
}
