//go:build unix

package faults

import (
	"cmp"
	"time"

	"github.com/anishathalye/porcupine"
)

// orderTime is how long the search for an order may take, of one stream or hostname.
const orderTime = time.Minute

// anyVersion and anyHolder are states in which nothing was seen yet.
const (
	anyVersion = ^uint64(0)
	anyHolder  = "?"
)

// versions is what commands say of one stream's version: one that stores n events moves it by n.
var versions = porcupine.Model{
	Init: func() any { return anyVersion },
	Step: func(state, _, output any) (bool, any) {
		at, o := state.(uint64), output.(*outcome)
		before, after := o.answer.Version-uint64(len(o.answer.Events)), o.answer.Version
		if !o.done() {
			before, after = o.problem.CurrentVersion, o.problem.CurrentVersion
			if before == o.ifMatch {
				return false, at
			}
		}
		if o.done() && o.ifMatch > 0 && before != o.ifMatch {
			return false, at
		}
		return at == anyVersion || at == before, after
	},
	Equal: func(a, b any) bool { return a == b },
}

// claim is what a command says of a hostname.
type claim struct {
	outcome *outcome
	takes   bool
}

// holders is what commands say of who has one hostname; "" is nobody.
var holders = porcupine.Model{
	Init: func() any { return anyHolder },
	Step: func(state, _, output any) (bool, any) {
		at, c := state.(string), output.(claim)
		is := func(who string) bool { return at == anyHolder || at == who }
		o := c.outcome
		switch {
		case !o.done() && c.takes: // taken
			return is(o.problem.Holder) && o.problem.Holder != o.stream, o.problem.Holder
		case !o.done(): // it does not have it; who does, is not said
			return at == anyHolder || at != o.stream, at
		case !c.takes:
			return is(o.stream), ""
		case o.answer.Unchanged:
			return is(o.stream), o.stream
		default:
			return is(""), o.stream
		}
	},
	Equal: func(a, b any) bool { return a == b },
}

// checkOrder expects that the commands could have been carried out one after the other, each at some
// moment between its first sending and its answer.
func (l *load) checkOrder(v *verdict, round []outcome) {
	byStream := make(map[string][]porcupine.Operation)
	byHostname := make(map[string][]porcupine.Operation)
	for i := range round {
		o := &round[i]
		op := porcupine.Operation{Call: int64(o.called), Return: int64(o.returned), Output: o}
		kind := ""
		if !o.done() {
			kind = o.problem.kind()
		}
		if o.done() || kind == "version-mismatch" {
			byStream[o.stream] = append(byStream[o.stream], op)
		}
		for _, h := range o.attach {
			if o.done() || kind == "hostname-taken" && o.problem.Hostname == h {
				op.Output = claim{o, true}
				byHostname[h] = append(byHostname[h], op)
			}
		}
		if o.detach != "" && (o.done() || kind == "not-found") {
			op.Output = claim{o, false}
			byHostname[o.detach] = append(byHostname[o.detach], op)
		}
	}
	search := func(what string, model porcupine.Model, by map[string][]porcupine.Operation) {
		for name, ops := range by {
			if result := porcupine.CheckOperationsTimeout(model, ops, orderTime); result != porcupine.Ok {
				v.find(&v.reordered, "the commands on the %s of %s are not linearizable (%s): %d of them", what, name, cmp.Or(string(result), "?"), len(ops))
			}
		}
	}
	search("version", versions, byStream)
	search("holder", holders, byHostname)
}
