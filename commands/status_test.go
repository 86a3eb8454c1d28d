package commands

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
)

// reached is how a tenant comes to each status.
var reached = map[events.Status][]events.Payload{
	"":                       {},
	events.StatusRegistered:  {registered},
	events.StatusActive:      {registered, events.TenantActivated{}},
	events.StatusSuspended:   {registered, events.TenantActivated{}, events.TenantSuspended{}},
	events.StatusDeactivated: {registered, events.TenantDeactivated{}},
	events.StatusPurged:      {registered, events.TenantDeactivated{}, events.TenantPurged{}},
}

func TestStatusCommands_InEveryStatus_MoveOrChangeNothingOrSayWhatIsPossible(t *testing.T) {
	const (
		none     = "" // changes nothing
		registr  = events.StatusRegistered
		active   = events.StatusActive
		suspend  = events.StatusSuspended
		inactive = events.StatusDeactivated
		purged   = events.StatusPurged
	)
	commands := []Command{ActivateTenant{acme}, SuspendTenant{acme}, ResumeTenant{acme}, DeactivateTenant{acme}, RestoreTenant{acme}, PurgeTenant{acme}}
	happens := []events.Payload{
		events.TenantActivated{}, events.TenantSuspended{}, events.TenantResumed{},
		events.TenantDeactivated{}, events.TenantRestored{}, events.TenantPurged{},
	}
	// A row is a status; a column a command, in the order above. "+" moves, "=" changes nothing,
	// anything else is a part of the refusal.
	for _, row := range []struct {
		in    events.Status
		cells [6]string
	}{
		{registr, [6]string{"+", "activate or deactivate", "activate or deactivate", "+", "activate or deactivate", "activate or deactivate"}},
		{active, [6]string{"=", "+", "=", "+", "=", "suspend or deactivate"}},
		{suspend, [6]string{"resume or deactivate", "=", "+", "+", "resume or deactivate", "resume or deactivate"}},
		{inactive, [6]string{"restore or purge", "restore or purge", "restore or purge", "=", "+", "+"}},
		{purged, [6]string{"the end", "the end", "the end", "the end", "the end", "the end"}},
		{none, [6]string{"no tenant", "no tenant", "no tenant", "no tenant", "no tenant", "no tenant"}},
	} {
		for i, cell := range row.cells {
			sc := scenario{name: commands[i].name() + " when " + string(row.in), given: reached[row.in], when: commands[i]}
			switch {
			case cell == "+":
				sc.then = []events.Payload{happens[i]}
			case cell == "=":
			case row.in == none:
				sc.refused, sc.says = NotFound, cell
			default:
				sc.refused, sc.says = WrongState, cell
			}
			t.Run(sc.name, sc.run)
		}
	}
}

func TestOtherCommands_InEveryStatusButPurged_AreAllowed(t *testing.T) {
	other := map[events.StreamID][]events.Payload{db("one").Stream(): {pg}, grp("early").Stream(): {early}}
	for _, c := range []struct {
		when Command
		then events.Payload
	}{
		{ChangeTenant{ID: acme, Name: new("Acme AG")}, events.TenantRenamed{Name: "Acme AG"}},
		{ChangeTenant{ID: acme, Group: new(grp("early"))}, events.TenantGroupChanged{Group: grp("early")}},
		{AttachHostname{ID: acme, Hostname: host("a.example")}, events.HostnameAttached{Hostname: host("a.example")}},
		{SetProduct{ID: acme, Product: "jira", Settings: events.Product{Plan: "free"}}, events.ProductActivated{Name: "jira", Product: events.Product{Plan: "free"}}},
		{AssignDatabase{ID: acme, Database: db("one")}, events.DatabaseAssigned{Database: db("one"), Name: "acme"}},
		{SetConfig{ID: acme, Key: "k", Value: raw("1")}, events.ConfigSet{Key: "k", Value: raw("1")}},
	} {
		for status, stream := range reached {
			sc := scenario{name: c.when.name() + " when " + string(status), given: stream, other: other, when: c.when, then: []events.Payload{c.then}}
			switch status {
			case "":
				sc.then, sc.refused, sc.says = nil, NotFound, "there is no tenant ten_acme"
			case events.StatusPurged:
				sc.then, sc.refused, sc.says = nil, WrongState, "purged, which is the end"
			}
			t.Run(sc.name, sc.run)
		}
	}
}

func TestPurgeTenant_WithEverything_ReleasesEverything(t *testing.T) {
	f := facts{homeRegions: regions}
	stream := must(events.New(acme.Stream(), 0, events.Metadata{Time: began}, given(
		events.TenantRegistered{Name: "Acme", HomeRegion: "eu-west", Group: grp("early")},
		attached("a.example", "b.example"),
		events.DatabaseAssigned{Database: db("one"), Name: "acme"},
		events.TenantDeactivated{},
	)...))
	s := must(state{id: acme.Stream()}.apply(stream))
	payloads := must(decide(PurgeTenant{acme}, s, f))
	b, _, err := NewHandler(nil, Config{}).batch(s, f, events.Metadata{}, payloads)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(sortedHostnames(b.Release), " "); got != "a.example b.example" {
		t.Errorf("releases %q, want both hostnames", got)
	}
	if len(b.Unrefer) != 2 || b.Unrefer[0] != db("one").Stream() || b.Unrefer[1] != grp("early").Stream() {
		t.Errorf("lets go of %v, want the database and the group", b.Unrefer)
	}
	if len(b.Take)+len(b.Refer) > 0 {
		t.Errorf("takes %v and refers to %v, want nothing", b.Take, b.Refer)
	}
}

// checkDifference is for the tests of what an import's line says against what is there.
func checkDifference(t *testing.T, got, says string) {
	t.Helper()
	if (says == "") != (got == "") || !strings.Contains(got, says) {
		t.Errorf("differs: %q, want %q", got, says)
	}
}
