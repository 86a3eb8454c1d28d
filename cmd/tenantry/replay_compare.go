package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/replay"
)

// replayReport is what a comparison prints with --output json.
type replayReport struct {
	*replay.Report
	Equal       bool                `json:"equal"`
	TookMS      int64               `json:"took_ms"`
	Differences []replay.Difference `json:"differences"`
	// Repaired are the streams that were folded anew and the entries that were removed, and Left what differs
	// still; of a repair.
	Repaired *int                `json:"repaired,omitempty"`
	Left     []replay.Difference `json:"left,omitempty"`
	// Change is what a rebuild would do, and Refused that it would be by --max-change; of a dry run.
	Change  *replay.Change `json:"change,omitempty"`
	Refused bool           `json:"refused,omitempty"`
}

// comparing is a comparison that is printed while it goes on, or collected for JSON.
type comparing struct {
	cmd    *cobra.Command
	meter  *meter
	found  []replay.Difference // for JSON
	tenant events.TenantID
	state  replay.TenantState // of the tenant, by the source
	verbs  map[replay.Kind]string
}

// whatDiffers is how a difference is told when nothing is changed.
var whatDiffers = map[replay.Kind]string{
	replay.Missing: "is missing", replay.Extra: "is not in the source", replay.Different: "differs", replay.Damaged: "is damaged",
}

// begin prepares a comparison, and asks the source about the tenant, where it is one.
func begin(cmd *cobra.Command, r *daemon.Replay) (*comparing, replay.VerifyConfig, error) {
	c := &comparing{cmd: cmd, meter: newMeter(cmd), verbs: whatDiffers}
	cfg := replay.VerifyConfig{Each: c.each, Progress: c.meter.stage}
	if id := flagValue(cmd, "tenant"); id != "" {
		var err error
		if c.tenant, err = events.ParseTenantID(id); err != nil {
			return nil, cfg, err
		}
		cfg.Tenant = c.tenant
		if c.state, err = r.AskTenant(cmd.Context(), c.tenant); err != nil {
			return nil, cfg, err
		}
	}
	return c, cfg, nil
}

func (c *comparing) each(d replay.Difference) error {
	if asJSON(c.cmd) {
		c.found = append(c.found, d)
		return nil
	}
	c.meter.clear()
	return printf(c.cmd, "%s", differenceText(d, c.verbs))
}

// differenceText is what is wrong with one stream.
func differenceText(d replay.Difference, verbs map[replay.Kind]string) string {
	var b strings.Builder
	verb := verbs[d.Kind]
	if d.Purged {
		verb = "was purged, and the region has it still"
	}
	if d.Stream.IsZero() {
		fmt.Fprintf(&b, "an entry that nobody can have written %s\n", verb)
	} else {
		fmt.Fprintf(&b, "%s %s\n", d.Stream, verb)
	}
	for _, f := range d.Fields {
		fmt.Fprintf(&b, "  %-24s %s here, %s in the source\n", strings.TrimPrefix(f.Field, "context."), cmp.Or(string(f.Here), "nothing"), cmp.Or(string(f.Source), "nothing"))
	}
	for _, h := range d.Hostnames {
		fmt.Fprintf(&b, "  %-24s answers %s, and should answer %s\n", h.Hostname, cmp.Or(h.Here.String(), "nobody"), cmp.Or(h.Source.String(), "nobody"))
	}
	for _, k := range d.Keys {
		text, err := k.MarshalText()
		if err != nil {
			text = []byte(strconv.QuoteToASCII(string(k)))
		}
		fmt.Fprintf(&b, "  key %s\n", text)
	}
	return b.String()
}

// unknown is what to say of a tenant that neither side has ever had; nil: one has.
func (c *comparing) unknown(r *replay.Report) error {
	if c.tenant.IsZero() || c.state != replay.TenantUnknown || !r.Equal() {
		return nil
	}
	return fmt.Errorf("there is no tenant %s: neither the source nor region %s has ever had it", c.tenant, r.Region)
}

// counted is what was compared, in words.
func (c *comparing) counted(r *replay.Report) string {
	what := counting(r.Tenants, "tenant") + " in " + thousands(r.Entries) + " entries"
	if !c.tenant.IsZero() {
		what = c.tenant.String()
		if c.state == replay.TenantPurged {
			what += ", which was purged"
		}
	}
	return fmt.Sprintf("%s, at position %d, in %.1f s", what, r.Position, r.Took.Seconds())
}

func replayVerify(cmd *cobra.Command, r *daemon.Replay) error {
	c, cfg, err := begin(cmd, r)
	if err != nil {
		return err
	}
	cfg.AtHand = flagValue(cmd, "quick") == "true"
	report, err := r.Verify(cmd.Context(), cfg)
	c.meter.end()
	if err != nil {
		return err
	}
	if err := c.unknown(report); err != nil {
		return err
	}
	switch {
	case asJSON(cmd):
		err = printJSON(cmd, c.asJSON(report))
	case report.Equal():
		err = printf(cmd, "%s is equal to the source: %s\n", report.Region, c.counted(report))
	default:
		err = printf(cmd, "%s: %s; compared %s\n", report.Region, summary(report), c.counted(report))
	}
	if err != nil || report.Equal() {
		return err
	}
	return &exitError{code: exitDiffers, err: fmt.Errorf("region %s differs from the source: --repair in place of --verify mends just that", report.Region)}
}

func (c *comparing) asJSON(r *replay.Report) *replayReport {
	out := &replayReport{Report: r, Equal: r.Equal(), TookMS: r.Took.Milliseconds(), Differences: c.found}
	if out.Differences == nil {
		out.Differences = []replay.Difference{}
	}
	return out
}

// summary is what a comparison found, in one line.
func summary(r *replay.Report) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", thousands(uint64(n)), what))
		}
	}
	add(r.Missing, "missing")
	add(r.Extra, "too much")
	add(r.Different, "different")
	add(r.Damaged, "damaged")
	if r.Hostnames > 0 {
		parts = append(parts, count(r.Hostnames, "hostname")+" answered wrongly")
	}
	if len(parts) == 0 {
		return fmt.Sprintf("all is as the source says, but %s that the region keeps of itself is wrong", count(r.WrongSums, "sum"))
	}
	return strings.Join(parts, ", ")
}

func replayRepair(cmd *cobra.Command, r *daemon.Replay) error {
	c, cfg, err := begin(cmd, r)
	if err != nil {
		return err
	}
	report, err := r.Repair(cmd.Context(), cfg)
	c.meter.end()
	if err != nil {
		return err
	}
	if err := c.unknown(&report.Report); err != nil {
		return err
	}
	if asJSON(cmd) {
		out := c.asJSON(&report.Report)
		out.Repaired, out.Left = &report.Repaired, report.Left
		err = printJSON(cmd, out)
	} else {
		err = c.printRepair(report)
	}
	if err != nil || len(report.Left) == 0 {
		return err
	}
	return &exitError{code: exitDiffers, err: fmt.Errorf("%s of region %s still: rebuild it, without --repair", count(len(report.Left), "difference"), report.Region)}
}

func (c *comparing) printRepair(report *replay.RepairReport) error {
	if report.Equal() {
		return printf(c.cmd, "%s is equal to the source, and nothing was to be mended: %s\n", report.Region, c.counted(&report.Report))
	}
	for _, d := range report.Left {
		if err := printf(c.cmd, "after the repair: %s", differenceText(d, whatDiffers)); err != nil {
			return err
		}
	}
	if !c.tenant.IsZero() && len(report.Left) == 0 {
		switch {
		case c.state == replay.TenantUnknown:
			return printf(c.cmd, "%s: %s was removed: the source has never had it\n", report.Region, c.tenant)
		case c.state == replay.TenantPurged:
			return printf(c.cmd, "%s: %s was removed: it was purged\n", report.Region, c.tenant)
		}
	}
	again := "and what was mended is equal now"
	if len(report.Left) > 0 {
		again = "and of that " + thousands(uint64(len(report.Left))) + " differ still"
	}
	return printf(c.cmd, "%s: %s; mended %s, %s, at position %d; compared %s\n", report.Region, summary(&report.Report),
		thousands(uint64(report.Repaired)), again, report.Again, c.counted(&report.Report))
}

func replayDryRun(cmd *cobra.Command, r *daemon.Replay) error {
	c, cfg, err := begin(cmd, r)
	if err != nil {
		return err
	}
	c.verbs = map[replay.Kind]string{
		replay.Missing: "would be added", replay.Extra: "would be removed", replay.Different: "would be changed", replay.Damaged: "would be removed",
	}
	report, err := r.Verify(cmd.Context(), cfg)
	c.meter.end()
	if err != nil {
		return err
	}
	if err := c.unknown(report); err != nil {
		return err
	}
	limit := cmd.Flag("max-change").Value.(*percent)
	change := report.Change()
	refused := c.tenant.IsZero() && change.Part() > limit.of1()
	if asJSON(cmd) {
		out := c.asJSON(report)
		out.Change, out.Refused = &change, refused
		err = printJSON(cmd, out)
	} else {
		err = c.printDryRun(report)
	}
	switch {
	case err != nil || report.Equal():
		return err
	case refused:
		err = fmt.Errorf("a rebuild of region %s would be refused: it takes away or alters %.1f%% of what there is, more than --max-change %s, and --force goes on if that is right",
			report.Region, 100*change.Part(), limit)
	default:
		err = fmt.Errorf("a rebuild would change region %s", report.Region)
	}
	return &exitError{code: exitDiffers, err: err}
}

func (c *comparing) printDryRun(r *replay.Report) error {
	text := fmt.Sprintf("%s: a rebuild would add %s, change %s and remove %s: %s\n", r.Region, thousands(uint64(r.Missing)),
		thousands(uint64(r.Different)), thousands(uint64(r.Extra+r.Damaged)), c.counted(r))
	if r.Differences() == 0 && !r.Equal() {
		text += fmt.Sprintf("it would put %s right that the region keeps of itself\n", count(r.WrongSums, "sum"))
	}
	return printf(c.cmd, "%s", text)
}

// counting is a number of things, of which many have an s more: 1 tenant, 1,000 tenants.
func counting(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(n) + " " + thing + "s"
}

// thousands is a number with its thousands apart.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
