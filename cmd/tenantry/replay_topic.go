package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	// askLeader is how long a catalogue that publishes is looked for: behind a load balancer another
	// may answer next time, and after a fail-over another leads within seconds.
	askLeader      = 15 * time.Second
	askLeaderPause = 500 * time.Millisecond
)

// topicHelp is what `replay --help` says of --topic.
const topicHelp = `With --topic it publishes events again, into the topic and from the store, behind what the
topic holds: for readers of the topic who have lost them. The catalogue that leads does it (--admin),
between the new events, so that order and fences stay as they are. Regions have every event
already, and skip what is published again. A topic that was deleted needs none of this: the
relay makes and fills it by itself. Broken off, the same command goes on where it was.`

// addTopicFlags gives `replay` what --topic needs besides --tenant, --data-dir and --output.
func addTopicFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Bool("topic", false, "publish events again, into the topic")
	flags.Var(newSince(), "since", "with --topic: the first event to publish, by its position, or by a time such as 2027-01-31T12:00:00Z or 2027-01-31, its beginning in UTC; empty: all")
	flags.Var(&number{max: 1_000_000}, "rate", "with --topic: events a second at most; 0: as fast as it goes")
	flags.Bool("restart", false, "with --topic: begin anew where the same replay was broken off")
	addRemote(cmd, "admin", "with --topic: URL of the admin API of the catalogue that leads", defaultAdmin)
}

// newSince is a position or a time; "": neither.
func newSince() *checked {
	return &checked{kind: "position or time", check: func(s string) error {
		_, _, err := parseSince(s)
		return err
	}}
}

// parseSince reads a position or a time, one of which is zero; "": both.
func parseSince(s string) (position uint64, at time.Time, err error) {
	if s == "" {
		return 0, at, nil
	}
	if position, err = strconv.ParseUint(s, 10, 63); err == nil && position > 0 {
		return position, at, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} { // a day begins when it does in UTC, as all times here are
		if at, err = time.Parse(layout, s); err == nil {
			return 0, at, nil
		}
	}
	return 0, at, errors.New("it is neither a position from 1 on, such as 10943, nor a time such as 2027-01-31T12:00:00Z or 2027-01-31")
}

// topicRequest is the body of POST /v1/topic/replay.
type topicRequest struct {
	Since     uint64 `json:"since,omitzero"`
	SinceTime string `json:"since_time,omitzero"`
	Tenant    string `json:"tenant,omitzero"`
	Rate      int    `json:"rate,omitzero"`
	Restart   bool   `json:"restart,omitzero"`
}

// topicLine is a line of its answer, and what is printed at the end.
type topicLine struct {
	From     uint64        `json:"from"`
	Position uint64        `json:"position"`
	UpTo     uint64        `json:"up_to"`
	Events   uint64        `json:"events"`
	Resumed  bool          `json:"resumed,omitzero"`
	Done     bool          `json:"done,omitzero"`
	Error    *problemError `json:"error,omitzero"`
}

// replayTopic is `replay --topic`.
func replayTopic(cmd *cobra.Command) error {
	ask := topicRequest{Tenant: flagValue(cmd, "tenant"), Restart: flagValue(cmd, "restart") == "true"}
	var err error
	if ask.Rate, err = strconv.Atoi(flagValue(cmd, "rate")); err != nil {
		return usage("--rate: %w", err)
	}
	var at time.Time
	if ask.Since, at, err = parseSince(flagValue(cmd, "since")); err != nil {
		return usage("--since: %w", err)
	}
	if !at.IsZero() {
		ask.SinceTime = at.Format(time.RFC3339Nano)
	}
	admin, err := adminURL(cmd)
	if err != nil {
		return err
	}
	began := time.Now()
	shown := newTopicProgress(cmd)
	end, published, err := askUntilDone(cmd, admin, ask, shown)
	shown.end()
	took := time.Since(began)
	switch {
	case errors.Is(err, errStopped), cmd.Context().Err() != nil:
		return stoppedTopic(end)
	case err != nil:
		return err
	case asJSON(cmd):
		return printJSON(cmd, topicResult{From: end.From, UpTo: end.UpTo, Events: published, Seconds: took.Seconds()})
	}
	if end.From > end.UpTo {
		return printf(cmd, "nothing was published again: there is no event since %s; the log ends at position %d\n", flagValue(cmd, "since"), end.UpTo)
	}
	return printf(cmd, "published again: %s, of the positions %d to %d (%.1f s)\n", counting(published, "event"), end.From, end.UpTo, took.Seconds())
}

// stoppedTopic says how far it was, as far as was told: the catalogue may have come further before it noticed.
func stoppedTopic(at topicLine) error {
	if at.UpTo == 0 {
		return errors.New("stopped before the catalogue said how far it is: the same command goes on from there")
	}
	return fmt.Errorf("stopped: all up to position %d of %d is published again, and perhaps some more; the same command goes on behind it", at.Position, at.UpTo)
}

// topicResult is what --output json prints.
type topicResult struct {
	From    uint64  `json:"from"`
	UpTo    uint64  `json:"up_to"`
	Events  uint64  `json:"events"`
	Seconds float64 `json:"seconds"`
}

// askUntilDone asks for the replay, and again where the catalogue that did it went away or lost the
// lead, or another than the leader was asked.
func askUntilDone(cmd *cobra.Command, admin string, ask topicRequest, shown *topicProgress) (last topicLine, published uint64, err error) {
	var first uint64
	patience := time.Now().Add(askLeader)
	for {
		at, err := replayOnce(cmd, admin, ask, shown)
		if at.UpTo > 0 || at.Done {
			if last = at; first == 0 {
				first = at.From
			}
		}
		if at.Events > 0 {
			published += at.Events
			patience = time.Now().Add(askLeader) // it moves
			ask.Restart = false
		}
		last.From = cmp.Or(first, last.From)
		if err == nil || cmd.Context().Err() != nil {
			return last, published, err
		}
		p, isProblem := errors.AsType[*problemError](err)
		again := !isProblem && first > 0 || isProblem && (p.is("not-leading") || p.is("unavailable"))
		if !again || time.Now().After(patience) {
			if last.Position > 0 {
				err = fmt.Errorf("broken off at position %d of %d (%w): the same command goes on from there", last.Position, last.UpTo, err)
			}
			return last, published, err
		}
		shown.waits()
		if wait(cmd.Context(), askLeaderPause) != nil {
			return last, published, errStopped
		}
	}
}

// wait waits, or returns the context's error.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replayOnce is one request, and the last line of its answer.
func replayOnce(cmd *cobra.Command, admin string, ask topicRequest, shown *topicProgress) (last topicLine, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return last, err
	}
	resp, err := request(cmd.Context(), cmd, http.MethodPost, admin+"/v1/topic/replay", bytes.NewReader(body), http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/x-ndjson"},
	})
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		raw, err := lines.ReadBytes('\n')
		if err != nil {
			if cmd.Context().Err() != nil {
				return last, errStopped
			}
			return last, fmt.Errorf("the catalogue at %s broke off: %w", admin, err)
		}
		var line topicLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return last, fmt.Errorf("read the answer: %w", err)
		}
		last = line
		shown.show(line)
		switch {
		case line.Error != nil:
			return last, line.Error
		case line.Done:
			return last, nil
		}
	}
}

// topicProgress shows how far a replay of the topic is: a bar with rate and time left on a terminal,
// else a plain line now and then.
type topicProgress struct {
	out         io.Writer
	bar         *progressbar.ProgressBar // nil: no terminal
	terminal    *os.File
	began, told time.Time
	first       uint64 // position at which it began
	waited      bool   // it was told that nothing moves
}

func newTopicProgress(cmd *cobra.Command) *topicProgress {
	p := &topicProgress{out: cmd.ErrOrStderr(), began: time.Now(), told: time.Now()}
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = f
	}
	return p
}

func (p *topicProgress) show(line topicLine) {
	p.waited = p.waited && line.Events == 0 // what holds it up next is another matter
	if p.first == 0 && line.From > 0 {
		p.first = line.From - 1
		if line.Resumed {
			fmt.Fprintf(p.out, "going on at position %d, where this replay was broken off\n", line.From)
		}
	}
	done, all := int64(line.Position-min(p.first, line.Position)), int64(line.UpTo-min(p.first, line.UpTo))
	if p.terminal != nil && p.bar == nil && all > 0 {
		p.bar = progressbar.NewOptions64(all,
			progressbar.OptionSetWriter(p.terminal), progressbar.OptionSetDescription("publish again"), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true))
	}
	if p.bar != nil {
		_ = p.bar.Set64(done) // a bar that cannot be drawn must not stop the work
		return
	}
	if p.terminal != nil || time.Since(p.told) < plainEvery || all == 0 {
		return
	}
	p.told = time.Now()
	took := time.Since(p.began)
	text := fmt.Sprintf("publish again: position %d of %d, %.0f a second", line.Position, line.UpTo, float64(done)/took.Seconds())
	if done > 0 {
		left := time.Duration(float64(took) * float64(all-done) / float64(done))
		text += fmt.Sprintf(", %d%%, about %s left", done*100/all, left.Round(time.Second))
	}
	fmt.Fprintln(p.out, text)
}

// waits says once why nothing moves.
func (p *topicProgress) waits() {
	if !p.waited {
		p.waited = true
		fmt.Fprintf(p.out, "looking for the catalogue that leads, for %s at most\n", askLeader)
	}
}

func (p *topicProgress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
