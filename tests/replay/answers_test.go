package replay

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/tests/truth"
)

// answers are what a copy says, by what it is asked for: a hostname, or a tenant's ID. "": there is none.
type answers map[string]string

// asked are all hostnames and tenants that the log knows of, and some more.
func asked(l *truth.Log, more ...string) []string {
	out := append(l.Hostnames(), more...)
	for id := range l.Tenants {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rightAnswers are what the log says.
func rightAnswers(l *truth.Log, of []string) (answers, error) {
	out := make(answers)
	for _, what := range of {
		tenant, there := l.Holder(what)
		name := what
		if id, err := events.ParseTenantID(what); err == nil {
			tenant, there = l.Tenants[id]
			there = there && tenant.Status != events.StatusPurged
			name = ""
		}
		if !there {
			out[what] = ""
			continue
		}
		text, err := truth.Canonical(l.Context(tenant, name))
		if err != nil {
			return nil, err
		}
		out[what] = text
	}
	return out, nil
}

// answer is what a model says. What is no document is an error.
func answer(m *readmodel.Model, what string) (string, error) {
	var doc *readmodel.Document
	h, err := events.ParseHostname(what)
	if id, idErr := events.ParseTenantID(what); idErr == nil {
		doc, err = m.Tenant(id)
	} else if err == nil {
		doc, err = m.Lookup(h)
	}
	if errors.Is(err, readmodel.ErrUnknown) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if doc.Quarantined {
		return "in quarantine", nil
	}
	return truth.Canonical(jsontext.Value(doc.Body))
}

// wrong are what a model answers otherwise than it should.
func (want answers) wrong(m *readmodel.Model) []string {
	var out []string
	for what, right := range want {
		if got, err := answer(m, what); err != nil || got != right {
			out = append(out, what)
		}
	}
	slices.Sort(out)
	return out
}
