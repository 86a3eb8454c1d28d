package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

func TestTenant_AsItWas_ByVersionAndByTime(t *testing.T) {
	s := newServer(t)
	s.acme("") // versions 1 to 3, at 12:00
	s.clock.now = s.clock.now.Add(time.Hour)
	s.must("PATCH", "/v1/tenants/ten_acme", `{"name":"Acme AG"}`) // 4, at 13:00
	s.clock.now = s.clock.now.Add(time.Hour)
	s.must("POST", "/v1/tenants/ten_acme/activate", "") // 5, at 14:00

	for query, want := range map[string]string{
		"":                                  "Acme AG active 5 2",
		"version=5":                         "Acme AG active 5 2",
		"version=4":                         "Acme AG registered 4 2",
		"version=3":                         "Acme registered 3 2",
		"version=1":                         "Acme registered 1 0",
		"as_of=2026-11-21T12:00:00Z":        "Acme registered 3 2",
		"as_of=2026-11-21T12:59:59.999999Z": "Acme registered 3 2",
		"as_of=2026-11-21T14:00:00%2B01:00": "Acme AG registered 4 2",
		"as_of=2026-11-21T13:00:00Z":        "Acme AG registered 4 2",
		"as_of=2026-11-21T14:00:00Z":        "Acme AG active 5 2",
		"as_of=" + url.QueryEscape("2099-01-01T00:00Z"): "400",
		"as_of=2099-01-01T00:00:00Z":                    "Acme AG active 5 2",
		"as_of=2026-11-21T11:59:59Z":                    "404",
		"version=6":                                     "404",
		"version=0":                                     "400",
		"version=-1":                                    "400",
		"version=x":                                     "400",
		"version=":                                      "400",
		"version=99999999999999999999":                  "400",
		"as_of=yesterday":                               "400",
		"as_of=2026-11-21T14:00:00+01:00":               "400", // a + in a query is a space
		"version=1&as_of=2026-11-21T12:00:00Z":          "400",
		"version=1&version=2":                           "400",
		"at=2026-11-21T12:00:00Z":                       "400",
	} {
		r := s.get("/v1/tenants/ten_acme?" + query)
		switch want {
		case "400":
			r.refused(400, "bad-request")
		case "404":
			r.refused(404, "not-found")
		default:
			var got struct {
				Name, Status string
				Version      uint64
				Hostnames    []string
			}
			r.want(200).as(&got)
			if have := fmt.Sprint(got.Name, " ", got.Status, " ", got.Version, " ", len(got.Hostnames)); have != want {
				t.Errorf("?%s: got %s, want %s", query, have, want)
			}
			if tag := r.header.Get("ETag"); tag != fmt.Sprintf("%q", fmt.Sprint(got.Version)) {
				t.Errorf("?%s: got ETag %s at version %d", query, tag, got.Version)
			}
		}
	}
	if f := s.get("/v1/tenants/ten_acme?as_of=2026-11-21T11:00:00Z").refused(404, "not-found"); !strings.Contains(f.Detail, "not there yet") {
		t.Errorf("got %q, which does not say why", f.Detail)
	}
}

func TestTenant_IfNoneMatch_AnswersNotModified(t *testing.T) {
	s := newServer(t)
	s.acme("")
	for header, status := range map[string]int{
		`"3"`: 304, `W/"3"`: 304, `"1", "3"`: 304, `*`: 304, `"2"`: 200, `3`: 200, ``: 200,
	} {
		r := s.get("/v1/tenants/ten_acme", "If-None-Match: "+header).want(status)
		if r.header.Get("ETag") != `"3"` || (r.body == "") != (status == 304) {
			t.Errorf("If-None-Match %s: got ETag %s and %q", header, r.header.Get("ETag"), r.body)
		}
	}
	s.must("PATCH", "/v1/tenants/ten_acme", `{"name":"Acme AG"}`)
	s.get("/v1/tenants/ten_acme", `If-None-Match: "3"`).want(200)
}

// ids follows next_page_token through a list, and is the IDs of each page.
func (s *server) ids(path string) [][]string {
	s.t.Helper()
	pages, token := [][]string{}, ""
	for {
		var page struct {
			Items []struct{ ID string }
			Next  string `json:"next_page_token"`
		}
		s.get(path + token).want(200).as(&page)
		ids := []string{}
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		if pages = append(pages, ids); page.Next == "" {
			return pages
		}
		token = "&page_token=" + page.Next
	}
}

func TestList_Tenants_InPagesByFilters(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/groups", groupBody)
	var lines strings.Builder
	for i := range 10 {
		group := ""
		if i%3 == 0 {
			group = `,"group":"grp_early"`
		}
		fmt.Fprintf(&lines, `{"id":"ten_%d","name":"T","hostnames":[],"home_region":"%s","status":"%s"%s}`+"\n",
			9-i, []string{"eu-west", "us-east"}[i%2], []string{"registered", "active", "suspended", "deactivated"}[i%4], group)
	}
	for _, a := range s.importing(lines.String()) {
		if a.Status != "created" {
			t.Fatalf("got %+v", a)
		}
	}
	s.must("DELETE", "/v1/tenants/ten_2", "") // the eighth, which is deactivated

	for path, want := range map[string]string{
		"/v1/tenants?page_size=4":                                       "[[ten_0 ten_1 ten_3 ten_4] [ten_5 ten_6 ten_7 ten_8] [ten_9]]",
		"/v1/tenants?page_size=3":                                       "[[ten_0 ten_1 ten_3] [ten_4 ten_5 ten_6] [ten_7 ten_8 ten_9]]",
		"/v1/tenants?page_size=1000":                                    "[[ten_0 ten_1 ten_3 ten_4 ten_5 ten_6 ten_7 ten_8 ten_9]]",
		"/v1/tenants?status=purged":                                     "[[ten_2]]",
		"/v1/tenants?status=active":                                     "[[ten_0 ten_4 ten_8]]",
		"/v1/tenants?status=suspended&page_size=1":                      "[[ten_3] [ten_7]]",
		"/v1/tenants?group=grp_early&page_size=2":                       "[[ten_0 ten_3] [ten_6 ten_9]]",
		"/v1/tenants?home_region=us-east&group=grp_early&status=active": "[[ten_0]]",
		"/v1/tenants?home_region=us-east&page_size=5":                   "[[ten_0 ten_4 ten_6 ten_8]]",
		"/v1/tenants?home_region=mars-1":                                "[[]]",
		"/v1/tenants?group=grp_none":                                    "[[]]",
		"/v1/groups?page_size=1":                                        "[[grp_early]]",
		"/v1/databases?page_size=1":                                     "[[]]",
	} {
		if got := fmt.Sprint(s.ids(path)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}

	var page struct {
		Next string `json:"next_page_token"`
	}
	s.get("/v1/tenants?page_size=2&status=active").want(200).as(&page)
	for _, query := range []string{
		"page_size=0", "page_size=1001", "page_size=x", "page_size=-1", "page_size=", "status=sleeping", "status=", "group=early", "group=ten_1", "group=",
		"home_region=", "color=red", "page_token=x", "page_token=AAAA", "page_token=" + page.Next, "page_token=" + page.Next + "&status=suspended",
		"page_size=1&page_size=2", "status=%zz",
	} {
		s.get("/v1/tenants?"+query).refused(400, "bad-request")
	}
	s.get("/v1/groups?page_token="+page.Next).refused(400, "bad-request")
	s.get("/v1/databases?status=active").refused(400, "bad-request")
}

func TestList_DatabasesAndGroups_WithTheirTenants(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", databaseBody)
	s.must("POST", "/v1/databases", strings.Replace(databaseBody, "db_eu-1", "db_eu-2", 1))
	s.must("POST", "/v1/groups", groupBody)
	s.acme(`,"database":"db_eu-1","group":"grp_early"`)
	s.must("POST", "/v1/databases/db_eu-2/retire", "")
	var page struct {
		Items []struct {
			ID, Status string
			Tenants    int
		}
	}
	s.get("/v1/databases").want(200).as(&page)
	if got, want := fmt.Sprint(page.Items), "[{db_eu-1 active 1} {db_eu-2 retired 0}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.get("/v1/groups").want(200).as(&page)
	if got, want := fmt.Sprint(page.Items), "[{grp_early active 1}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// manyTenants answers lists of tenants from the air: so many of them, of which none is active but
// the last.
type manyTenants struct {
	events.Store
	many  int
	asked int // streams, of one page
}

func (m *manyTenants) Streams(_ context.Context, _ events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	next := 0
	if !after.IsZero() {
		if _, err := fmt.Sscanf(after.String(), "ten_%06d", &next); err != nil {
			return nil, err
		}
		next++
	}
	m.asked += limit
	var out [][]events.Event
	for i := next; i < min(next+limit, m.many); i++ {
		id, err := events.ParseTenantID(fmt.Sprintf("ten_%06d", i))
		if err != nil {
			return nil, err
		}
		payloads := []events.Payload{events.TenantRegistered{Name: "T", HomeRegion: "eu-west"}}
		if i == m.many-1 {
			payloads = append(payloads, events.TenantActivated{})
		}
		stream, err := events.New(id.Stream(), 0, events.Metadata{Time: time.Unix(1, 0)}, payloads...)
		if err != nil {
			return nil, err
		}
		for n := range stream {
			stream[n].Position = uint64(i*2 + n + 1)
		}
		out = append(out, stream)
	}
	return out, nil
}

func TestList_OneInManyMatches_EachPageLooksAtABoundedNumber(t *testing.T) {
	many := &manyTenants{Store: openStore(t), many: 12_000}
	s := newServerOn(t, many)
	pages := s.ids("/v1/tenants?status=active")
	if got := slices.Concat(pages...); len(got) != 1 || got[0] != "ten_011999" {
		t.Errorf("got %v, want the last tenant", got)
	}
	if len(pages) < 2 || many.asked/len(pages) > 6000 {
		t.Errorf("%d pages looked at %d tenants: one page does too much", len(pages), many.asked)
	}
}

func TestHistory_OfATenant_InPages(t *testing.T) {
	s := newServer(t)
	s.acme("")
	s.must("POST", "/v1/tenants/ten_acme/activate", `{"reason":"signed"}`, "Tenantry-Actor: mara")
	var page struct {
		Items []events.Event
		Next  string `json:"next_page_token"`
	}
	var types []string
	var versions []uint64
	for token := ""; ; token = "&page_token=" + page.Next {
		page.Next = ""
		s.get("/v1/tenants/ten_acme/events?page_size=3" + token).want(200).as(&page)
		for _, e := range page.Items {
			types, versions = append(types, string(e.Type)), append(versions, e.Version)
		}
		if page.Next == "" {
			break
		}
	}
	if got := fmt.Sprint(versions); got != "[1 2 3 4]" || types[3] != "tenantry.tenant.activated.v1" {
		t.Errorf("got versions %s of %v", got, types)
	}
	s.get("/v1/tenants/ten_acme/events?page_token=x").refused(400, "bad-request")
	s.get("/v1/tenants/ten_acme/events?after=1").refused(400, "bad-request")
	s.get("/v1/tenants/ten_nobody/events").refused(404, "not-found")
}

func TestHistory_OfADatabaseOrGroup_InPages(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", `{"id":"db_x","engine":"postgres","region":"eu-west","host":"pg","port":5432,"secret_ref":"vault://x"}`)
	s.must("POST", "/v1/databases/db_x/drain", `{}`)
	s.must("POST", "/v1/groups", `{"id":"grp_g","name":"G","ring":1}`)
	s.must("PATCH", "/v1/groups/grp_g", `{"ring":2}`)
	for path, want := range map[string][]string{
		"/v1/databases/db_x/events": {"tenantry.database.registered.v1", "tenantry.database.draining.v1"},
		"/v1/groups/grp_g/events":   {"tenantry.group.created.v1", "tenantry.group.changed.v1"},
	} {
		var types []string
		for token := ""; ; {
			var page struct {
				Items []events.Event
				Next  string `json:"next_page_token"`
			}
			s.get(path + "?page_size=1" + token).want(200).as(&page)
			for _, e := range page.Items {
				types = append(types, string(e.Type))
			}
			if page.Next == "" {
				break
			}
			token = "&page_token=" + page.Next
		}
		if !slices.Equal(types, want) {
			t.Errorf("%s: got %v, want %v", path, types, want)
		}
	}
	s.get("/v1/databases/db_none/events").refused(404, "not-found")
	s.get("/v1/groups/grp_none/events").refused(404, "not-found")
	s.get("/v1/databases/ten_acme/events").refused(422, "invalid")
}

// bounded is a store of which no stream is read whole, nor more of it than a page needs.
type bounded struct {
	events.Store
	most int // events read at once
}

func (b *bounded) Load(context.Context, events.StreamID, uint64) ([]events.Event, error) {
	return nil, errors.New("the whole stream was asked for")
}

func (b *bounded) History(ctx context.Context, id events.StreamID, after uint64, limit int) ([]events.Event, error) {
	out, err := b.Store.History(ctx, id, after, limit)
	b.most = max(b.most, len(out))
	return out, err
}

func TestHistory_OfALongLife_ReadsNoMoreThanThePage(t *testing.T) {
	store := openStore(t)
	s := newServerOn(t, store)
	s.acme("")
	for i := range 40 {
		s.must("PATCH", "/v1/tenants/ten_acme", fmt.Sprintf(`{"name":"Acme %d"}`, i))
	}
	counted := &bounded{Store: store}
	page := newServerOn(t, counted).get("/v1/tenants/ten_acme/events?page_size=5").want(200)
	if counted.most != 6 || !strings.Contains(page.body, "next_page_token") {
		t.Errorf("a page of 5 read %d events: %s", counted.most, page.body)
	}
}

func TestReads_AreOfTheStore_NotOfACopy(t *testing.T) {
	store := openStore(t)
	s := newServerOn(t, store)
	other := commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}})
	id, err := events.ParseTenantID("ten_acme")
	if err != nil {
		t.Fatal(err)
	}
	s.get("/v1/tenants/ten_acme").refused(404, "not-found")
	if _, err := other.Do(context.Background(), commands.Request{Command: commands.RegisterTenant{ID: id, Name: "Acme", HomeRegion: "eu-west"}}); err != nil {
		t.Fatal(err)
	}
	s.get("/v1/tenants/ten_acme").want(200)
}

func TestNew_WithoutWhatItNeeds_IsRefused(t *testing.T) {
	if _, err := adminapi.New(adminapi.Config{}); err == nil {
		t.Error("a server without a store was made")
	}
}
