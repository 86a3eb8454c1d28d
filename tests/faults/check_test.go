//go:build unix

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/tests/truth"
)

// verdict is what came of a load.
type verdict struct {
	events, commands, retried, replayed int

	lost      int // what was answered and is not in the log, or is in the log and not in a node
	doubled   int // what is in the log, or in the topic, and was not answered, or more than once
	reordered int // what a node showed older than before, or what no order of commands explains
	findings  []string
}

func (v *verdict) find(count *int, format string, args ...any) {
	*count++
	if len(v.findings) < 100 {
		v.findings = append(v.findings, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) String() string {
	return fmt.Sprintf("%d commands, %d of them sent more than once, %d answered again by their key; %d events; lost %d, doubled %d, reordered %d",
		v.commands, v.retried, v.replayed, v.events, v.lost, v.doubled, v.reordered)
}

// check stops the load, and holds all that was answered since the last check, and every node, against
// the log. The test fails with whatever is found.
func (l *load) check() *verdict {
	l.t.Helper()
	l.pause()
	v := new(verdict)
	if err := l.err(); err != nil {
		l.t.Error(err)
	}
	log := l.readLog()
	round := l.history.round()
	l.checkAnswers(v, round, log)
	l.checkOrder(v, round)
	for _, n := range l.s.nodes {
		l.checkNode(v, n, log)
	}
	l.watch.mu.Lock()
	v.reordered += l.watch.back
	found := slices.Concat(v.findings, l.watch.findings)
	lookups := l.watch.lookups
	l.watch.back, l.watch.findings = 0, nil
	l.watch.mu.Unlock()
	l.t.Logf("%s; %d look-ups; %d answers of 503, the slowest after %s; %d of 500", v, lookups, l.history.refused,
		l.history.slowest.Round(time.Millisecond), l.history.unknown.Load())
	if len(found) > 0 {
		l.t.Errorf("%d findings:\n%s", len(found), strings.Join(found[:min(len(found), 20)], "\n"))
	}
	return v
}

// readLog reads the log at every catalogue, which have to have the same.
func (l *load) readLog() *truth.Log {
	l.t.Helper()
	var log *truth.Log
	for _, c := range l.s.catalogues {
		ctx, cancel := context.WithTimeout(l.t.Context(), patience)
		var err error
		last := log
		if late := await(patience, c.name+" can be read", func() bool {
			log, err = truth.Read(ctx, l.s.long, c.url)
			return err == nil
		}); late != nil {
			l.t.Fatalf("%v: %v", late, err)
		}
		cancel()
		if last != nil && (last.Head() != log.Head() || last.StoreID != log.StoreID) {
			l.t.Fatalf("the catalogues have logs of their own: position %d of %s, and %d of %s", last.Head(), last.StoreID, log.Head(), log.StoreID)
		}
	}
	return log
}

// checkAnswers expects what was answered to be in the log, and nothing else.
func (l *load) checkAnswers(v *verdict, round []outcome, log *truth.Log) {
	base := l.history.checked
	l.history.checked = log.Head()
	v.events = int(log.Head() - base)
	of := make(map[string][]uint64) // positions, by the command's key
	for _, e := range log.Events[base:] {
		of[e.Reason] = append(of[e.Reason], e.Position)
	}
	for i := range round {
		o := &round[i]
		v.commands++
		if o.tries > 1 {
			v.retried++
		}
		if o.replayed {
			v.replayed++
		}
		stored := of[o.key]
		delete(of, o.key)
		if !o.done() || o.answer.Unchanged {
			if len(stored) > 0 {
				v.find(&v.doubled, "%s %s (%s) was answered %d %+v, and stored %v", o.method, o.path, o.key, o.status, o.problem, stored)
			}
			continue
		}
		for _, e := range o.answer.Events {
			if e.Position <= base || e.Position > log.Head() {
				v.find(&v.lost, "%s was answered position %d, and the log ends at %d", o.key, e.Position, log.Head())
				continue
			}
			got := log.Events[e.Position-1]
			if got.Reason != o.key || got.Stream.String() != o.stream || got.Version != e.Version || string(got.Type) != e.Type {
				v.find(&v.lost, "%s of %s was answered %+v, and the log has there %s version %d %s of %s",
					o.key, o.stream, e, got.Stream, got.Version, got.Type, got.Reason)
			}
		}
		if n := len(o.answer.Events); n == 0 || len(stored) != n {
			v.find(&v.doubled, "%s was answered %d events, and the log has %v", o.key, n, stored)
		}
	}
	for key, stored := range of {
		v.find(&v.doubled, "nobody was answered the command %q, which stored %v", key, stored)
	}
}

// checkNode expects a node to come to the log's end, and to be equal to the log.
func (l *load) checkNode(v *verdict, n *server, log *truth.Log) {
	last := ""
	err := await(patience, fmt.Sprintf("%s is at position %d", n.name, log.Head()), func() bool {
		// Whoever has the hostname, or nobody: only how far the node is counts.
		status, body, err := n.look(fmt.Sprintf("/v1/lookup/own-t0.example?min_position=%d&wait=5s", log.Head()))
		last = fmt.Sprintf("%d %v %s", status, err, body)
		return err == nil && status == 200
	})
	if err != nil {
		v.find(&v.lost, "%v: %s", err, last)
		return
	}
	var s struct {
		Ready       bool             `json:"ready"`
		StoreID     string           `json:"store_id"`
		Quarantined []jsontext.Value `json:"quarantined"`
	}
	_, body, err := n.look("/v1/status")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil || !s.Ready || s.StoreID != log.StoreID || len(s.Quarantined) > 0 {
		v.find(&v.lost, "status of %s: %v %s, want it ready, of store %s, with nothing in quarantine", n.name, err, body, log.StoreID)
	}
	for _, finding := range log.CheckRegion(l.t.Context(), truth.Node{Client: l.s.http, URL: n.url}) {
		v.find(&v.lost, "%s differs from the log: %s", n.name, finding)
	}
}

// checkTopic expects each event in the topic once and in order, as is so where the topic was never
// lost.
func (l *load) checkTopic(v *verdict) {
	l.t.Helper()
	cluster, err := kafka.New(kafka.Config{Brokers: l.s.brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	if err := l.readLog().CheckTopic(ctx, cluster, l.s.topic); err != nil {
		v.find(&v.doubled, "the topic: %v", err)
		l.t.Errorf("the topic: %v", err)
	}
}
