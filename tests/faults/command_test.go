//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
)

// command is one request of a writer.
type command struct {
	method, path, body string
	stream             string   // that it changes
	attach             []string // hostnames that the stream has when it is done
	detach             string   // the hostname that it does not have then
	ifMatch            uint64   // 0: none
}

// What all writers write to: few enough that they meet all the time.
const (
	sharedTenants   = 24
	sharedHostnames = 30
	sharedDatabases = 3
	sharedGroups    = 3
)

// found are the commands that everything else is about.
func found() []command {
	var out []command
	for i := range sharedGroups {
		id := fmt.Sprintf("grp_g%d", i)
		out = append(out, command{method: "POST", path: "/v1/groups", stream: id, body: fmt.Sprintf(`{"id":%q,"name":"G","ring":0}`, id)})
	}
	for i := range sharedDatabases {
		id := fmt.Sprintf("db_d%d", i)
		out = append(out, command{method: "POST", path: "/v1/databases", stream: id, body: fmt.Sprintf(
			`{"id":%q,"engine":"postgres","region":"eu-west","host":"d%d.internal","port":5432,"secret_ref":"vault://d%d"}`, id, i, i)})
	}
	for i := range sharedTenants {
		out = append(out, register(fmt.Sprintf("ten_t%d", i), fmt.Sprintf("own-t%d.example", i)))
	}
	return out
}

func register(id string, hostnames ...string) command {
	list := ""
	for i, h := range hostnames {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf("%q", h)
	}
	return command{method: "POST", path: "/v1/tenants", stream: id, attach: hostnames,
		body: fmt.Sprintf(`{"id":%q,"name":"N","hostnames":[%s],"home_region":"eu-west"}`, id, list)}
}

// writer makes random commands, all of which are well-formed, and most of which change something. Those
// that do not are refused for what another writer did before.
type writer struct {
	number int
	rand   *rand.Rand
	made   int
	// seen are versions that streams were answered at, for If-Match.
	seen map[string]uint64
}

// next is the writer's next command.
func (w *writer) next() command {
	w.made++
	r := w.rand
	tenant := fmt.Sprintf("ten_t%d", r.IntN(sharedTenants))
	hostname := fmt.Sprintf("h%d.example", r.IntN(sharedHostnames))
	unique := fmt.Sprintf("%d-%d", w.number, w.made)
	at := func(method, what, body string) command {
		c := command{method: method, path: "/v1/tenants/" + tenant + what, body: body, stream: tenant}
		if r.IntN(8) == 0 {
			c.ifMatch = w.seen[tenant]
		}
		return c
	}
	switch n := r.IntN(100); {
	case n < 25:
		return at("PATCH", "", fmt.Sprintf(`{"name":"Name %s"}`, unique))
	case n < 37:
		return at("PUT", fmt.Sprintf("/config/k%d", r.IntN(4)), fmt.Sprintf(`{"value":{"of":%q}}`, unique))
	case n < 40:
		return at("DELETE", fmt.Sprintf("/config/k%d", r.IntN(4)), "")
	case n < 58:
		c := at("PUT", "/hostnames/"+hostname, "")
		c.attach = []string{hostname}
		return c
	case n < 72:
		c := at("DELETE", "/hostnames/"+hostname, "")
		c.detach = hostname
		return c
	case n < 80:
		return at("PUT", fmt.Sprintf("/products/p%d", r.IntN(3)), fmt.Sprintf(`{"plan":"plan-%s","seats":%d}`, unique, w.made))
	case n < 82:
		return at("DELETE", fmt.Sprintf("/products/p%d", r.IntN(3)), "")
	case n < 86:
		return at("POST", []string{"/suspend", "/resume", "/activate"}[r.IntN(3)], "")
	case n < 89:
		return at("PUT", "/database", fmt.Sprintf(`{"database":"db_d%d","name":"n%s"}`, r.IntN(sharedDatabases), unique))
	case n < 91:
		return at("PATCH", "", fmt.Sprintf(`{"group":"grp_g%d"}`, r.IntN(sharedGroups)))
	case n < 93:
		id := fmt.Sprintf("db_d%d", r.IntN(sharedDatabases))
		return command{method: "PATCH", path: "/v1/databases/" + id, body: fmt.Sprintf(`{"host":"h%s.internal"}`, unique), stream: id}
	case n < 94:
		id := fmt.Sprintf("grp_g%d", r.IntN(sharedGroups))
		return command{method: "PATCH", path: "/v1/groups/" + id, body: fmt.Sprintf(`{"ring":%d}`, r.IntN(5)), stream: id}
	case n < 97:
		return register(fmt.Sprintf("ten_w%s", unique), fmt.Sprintf("own-w%s.example", unique))
	default:
		return register(fmt.Sprintf("ten_w%s", unique), hostname, fmt.Sprintf("own-w%s.example", unique))
	}
}
