package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// The lines are bodies of POST /v1/databases, /v1/groups and /v1/tenants. They are types of
// their own, as a stranger's would be: what the server takes is for its contract to say.

type databaseLine struct {
	ID        string `json:"id"`
	Engine    string `json:"engine"`
	Region    string `json:"region"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	SecretRef string `json:"secret_ref"`
	Capacity  int    `json:"capacity,omitempty"` // the most tenants it takes; 0: no limit
}

type groupLine struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Ring int    `json:"ring,omitempty"`
}

type tenantLine struct {
	ID              string             `json:"id"`
	Name            string             `json:"name"`
	Hostnames       []string           `json:"hostnames"`
	PrimaryHostname string             `json:"primary_hostname,omitempty"` // where it is not the first
	HomeRegion      string             `json:"home_region"`
	Group           string             `json:"group,omitempty"`
	Database        *assignment        `json:"database,omitempty"`
	Products        map[string]product `json:"products,omitempty"`
	Config          map[string]any     `json:"config,omitempty"`
	Status          string             `json:"status,omitempty"` // where it is not registered
}

// assignment is {"id", "name"}, or the ID alone where the name is the one that the tenant's
// ID gives it.
type assignment struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (a assignment) MarshalJSON() ([]byte, error) {
	if a.Name == "" {
		return json.Marshal(a.ID)
	}
	type object assignment
	return json.Marshal(object(a))
}

func (a *assignment) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = assignment{}
		return json.Unmarshal(b, &a.ID)
	}
	type object assignment
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*object)(a))
}

type product struct {
	Plan       string   `json:"plan"`
	Seats      int      `json:"seats,omitempty"`
	Features   []string `json:"features,omitempty"`
	TrialUntil string   `json:"trial_until,omitempty"`
}

// write writes the whole roster in the order of IDs: databases and groups come before the
// tenants that refer to them, so that one pass from the top imports it.
func write(w io.Writer) error {
	databases, groups := slices.Clone(servers), slices.Clone(rings)
	slices.SortFunc(databases, func(a, b databaseLine) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(groups, func(a, b groupLine) int { return cmp.Compare(a.ID, b.ID) })
	tenants, err := newCompany().tenants()
	if err != nil {
		return err
	}
	slices.SortFunc(tenants, func(a, b tenantLine) int { return cmp.Compare(a.ID, b.ID) })

	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, d := range databases {
		if err := encoder.Encode(d); err != nil {
			return fmt.Errorf("write %s: %w", d.ID, err)
		}
	}
	for _, g := range groups {
		if err := encoder.Encode(g); err != nil {
			return fmt.Errorf("write %s: %w", g.ID, err)
		}
	}
	for _, t := range tenants {
		if err := encoder.Encode(t); err != nil {
			return fmt.Errorf("write %s: %w", t.ID, err)
		}
	}
	return nil
}
