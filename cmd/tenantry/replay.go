package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/internal/telemetry"
)

func newReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Rebuild, compare or mend a region's copy from the source of truth",
		Long: `Rebuilds a region's copy from the source of truth, while its node serves or while none
runs: a new generation is built beside the live one, read back and held against the
source, and then takes the live one's place without a look-up that fails. The one
before stays, and --rollback goes back to it. Whatever fails changes nothing.

--verify compares all that the region holds with the source, at the position that the
region has, and names what differs: exit code 3 where anything does. --repair mends
just that. --dry-run says what a rebuild would change: exit code 3 where it would change
anything. --tenant does one tenant alone.

The source of a dev's data directory is found by itself: the dev that runs on it, or its
store. For the data directory of a region's node name it with --source, as for the
node. A rebuild that would take away or alter more than --max-change of what the region
has is refused, unless --force is given. What it adds does not count: a region that has lost
most of its tenants gets them back without --force. So is a source that is another store,
always while a node runs; and always one that is empty, or behind the region.

Flags that do not go together are refused, and nothing is done: exit code 2.

` + topicHelp,
		Example: `  tenantry replay --region eu-west --data-dir tenantry-data
  tenantry replay --region eu-west --verify
  tenantry replay --region eu-west --data-dir /var/lib/tenantry --source http://catalogue.example:8080 --repair
  tenantry replay --region eu-west --tenant ten_acme
  tenantry replay --region eu-west --dry-run --output json
  tenantry replay --region eu-west --rollback
  tenantry replay --topic --since 2026-11-21T02:00:00Z --rate 5000`,
		Args: takesNone,
	}
	flags := cmd.Flags()
	flags.Var(newRegion(), "region", "the region to replay")
	flags.Var(newDirectory(), "data-dir", "data directory of the region's node, or of a dev")
	flags.Var(newSource(), "source", "where the truth can be read: http(s):// of a catalogue, or postgres:// of the store; empty: that of the dev")
	addSourceFlags(cmd)
	flags.Var(newTenantID(), "tenant", "the one tenant to replay; empty: all")
	flags.Bool("verify", false, "compare, and change nothing; exit code 3 where anything differs")
	flags.Bool("quick", false, "with --verify: go by the sums of the source that the last comparison has kept, brought up to date, where they are of the last 24 hours")
	flags.Bool("repair", false, "compare, mend just what differs, and compare that again")
	flags.Bool("dry-run", false, "say what a rebuild would add, change and remove, and change nothing; exit code 3 where it would")
	flags.Bool("rollback", false, "go back to the generation before")
	flags.Var(&percent{value: "20%"}, "max-change", "of what the region has (tenants, databases, groups; hostnames), how much a rebuild may take away or alter at most")
	flags.Bool("force", false, "rebuild although that takes away or alters more than --max-change, although the source is another store (while no node runs), or although the region never ran here")
	flags.Var(&number{value: 12, min: 1, max: 1000}, "kafka-partitions", "partitions of the topic; asked only where nothing of the region is left that says it")
	addTopicFlags(cmd)
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		mode, err := checkReplay(cmd)
		if err != nil {
			return err
		}
		if mode == "topic" {
			return replayTopic(cmd)
		}
		return runReplay(cmd, mode)
	}
	return cmd
}

func runReplay(cmd *cobra.Command, mode string) error {
	if _, own := cmd.ErrOrStderr().(*os.File); own { // else this process does other things too: a test's
		gentle()
	}
	log, err := quietLogger(cmd)
	if err != nil {
		return err
	}
	partitions, err := strconv.Atoi(flagValue(cmd, "kafka-partitions"))
	if err != nil {
		return err
	}
	r, err := daemon.OpenReplay(cmd.Context(), daemon.ReplayConfig{
		Region: flagValue(cmd, "region"), DataDir: flagValue(cmd, "data-dir"),
		Source:     sourceOfTruth(cmd),
		Partitions: partitions, New: flagValue(cmd, "force") == "true", NoSource: mode == "rollback", Logger: log,
	})
	if errors.Is(err, daemon.ErrNoSource) {
		return usage("%w", err)
	}
	if err != nil {
		return ifReplayStopped(cmd, mode, ifNotAllowed(err))
	}
	err = replayAs(cmd, r, mode)
	return ifReplayStopped(cmd, mode, ifNotAllowed(errors.Join(err, r.Close())))
}

// ifNotAllowed says what helps where a region's files are somebody else's.
func ifNotAllowed(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run this as the user that the node, or dev, runs as", err)
	}
	return err
}

// quietLogger logs warnings, unless the user asks for more: the result says what was done.
func quietLogger(cmd *cobra.Command) (*slog.Logger, error) {
	level := cmd.Flag("log-level")
	if level.Changed || level.Annotations[sourceOf] != nil {
		return logger(cmd)
	}
	log, err := telemetry.Logger(cmd.ErrOrStderr(), "warn", flagValue(cmd, "log-format"))
	if err != nil {
		return nil, usage("%w", err)
	}
	return log, nil
}

func replayAs(cmd *cobra.Command, r *daemon.Replay, mode string) error {
	switch {
	case mode == "verify":
		return replayVerify(cmd, r)
	case mode == "dry-run":
		return replayDryRun(cmd, r)
	case mode == "rollback":
		return replayRollback(cmd, r)
	case flagValue(cmd, "tenant") != "" || mode == "repair":
		return replayRepair(cmd, r)
	}
	return replayRebuild(cmd, r)
}

// ifReplayStopped says of a replay that the user has stopped what became of it, in place of what that looks
// like from inside.
func ifReplayStopped(cmd *cobra.Command, mode string, err error) error {
	switch {
	case mode == "repair" || mode == "" && flagValue(cmd, "tenant") != "":
		return stopped(cmd, err, "what was mended until then is mended; the same again does the rest")
	case mode == "":
		return stopped(cmd, err, "the region is as it was, and nothing is left over; the next run begins anew")
	}
	return stoppedHere(cmd, err)
}

// stoppedHere is that of what changes nothing until it is done.
func stoppedHere(cmd *cobra.Command, err error) error {
	return stopped(cmd, err, "the region is as it was, and nothing is left over")
}

func stopped(cmd *cobra.Command, err error, became string) error {
	if err == nil || cmd.Context().Err() == nil {
		return err
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e // it was done
	}
	return errors.New("stopped: " + became)
}

// newTenantID is the ID of a tenant, or none.
func newTenantID() *checked {
	return &checked{kind: "ID", check: func(s string) error {
		if s == "" {
			return nil
		}
		if _, err := events.ParseTenantID(s); err != nil {
			return errors.New(`it is not a tenant's ID: that is "ten_" and then 1 to 63 of a-z, 0-9 and -`)
		}
		return nil
	}}
}

// percent is a part of a whole, such as 20%.
type percent struct{ value string }

func (p *percent) String() string { return p.value }
func (p *percent) Type() string   { return "percent" }
func (p *percent) Set(s string) error {
	number, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	between := err == nil && v >= 0 && v <= 100 // which NaN is not
	switch {
	case between && !ok:
		return fmt.Errorf("it is not a percentage from 0%% to 100%%: is %s%% meant?", s)
	case !between:
		return errors.New("it is not a percentage from 0% to 100%, such as 5%")
	}
	p.value = s
	return nil
}

// of1 is the part as a number up to 1.
func (p *percent) of1() float64 {
	v, err := strconv.ParseFloat(strings.TrimSuffix(p.value, "%"), 64)
	if err != nil {
		panic(fmt.Sprintf("percent %q was not checked", p.value))
	}
	return v / 100
}
