package query_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/internal/query"
)

func TestListParameters(t *testing.T) {
	byID := query.Order{Field: id}
	latest := query.Order{Field: id, Desc: true}
	for _, test := range []struct {
		name   string
		values string
		schema query.Schema
		want   query.List
	}{
		{"defaults of rules", "", query.Rules(), query.List{Page: 1, PageSize: 100, Order: byID}},
		{"defaults of alerts", "", query.Alerts(), query.List{Page: 1, PageSize: 100, Order: latest}},
		{"empty values", "page=&pageSize=&query=+&orderBy=", query.Rules(), query.List{Page: 1, PageSize: 100, Order: byID}},
		{"paging", "page=5&pageSize=20", query.Rules(), query.List{Page: 5, PageSize: 20, Order: byID}},
		{"case of the names", "PAGE=2&pagesize=5000&Query=type%3Da&orderby=type", query.Rules(), query.List{
			Page: 2, PageSize: 5000, Where: typeIs("a"), Query: "type=a",
			Order: query.Order{Field: kind}, OrderBy: "type",
		}},
		{"largest page", "page=2147483647", query.Rules(), query.List{Page: math.MaxInt32, PageSize: 100, Order: byID}},
		{"query", "query=type%3DData%20sync%20completed", query.Rules(), query.List{
			Page: 1, PageSize: 100, Order: byID, Where: typeIs("Data sync completed"), Query: "type=Data sync completed",
		}},
		{"descending", "orderBy=-notifiers.WEBHOOK", query.Rules(), query.List{
			Page: 1, PageSize: 100, Order: query.Order{Field: webhook, Desc: true}, OrderBy: "-notifiers.WEBHOOK",
		}},
		{"the vendor's example", "orderBy=-modifiedDate", query.Rules(), query.List{Page: 1, PageSize: 100, Order: byID, OrderBy: "-modifiedDate"}},
		{"the vendor's example, upwards", "orderBy=MODIFIEDDATE", query.Rules(), query.List{Page: 1, PageSize: 100, Order: byID, OrderBy: "MODIFIEDDATE"}},
		{"alias in the order", "orderBy=alertId", query.Alerts(), query.List{Page: 1, PageSize: 100, Order: byID, OrderBy: "alertId"}},
		{"time is the order of ids", "orderBy=-raisedOnUtc", query.Alerts(), query.List{Page: 1, PageSize: 100, Order: latest, OrderBy: "-raisedOnUtc"}},
		{"other parameters", "companyId=x&foo=1&foo=2", query.Rules(), query.List{Page: 1, PageSize: 100, Order: byID}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := query.ParseList(parseValues(t, test.values), test.schema)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ParseList(%q) (-want +got):\n%s", test.values, diff)
			}
		})
	}
}

func TestWrongListParameterIsNamed(t *testing.T) {
	const pages = "want a whole number from 1 to 2147483647"
	const sizes = "want a whole number from 1 to 5000"
	for _, test := range []struct {
		values, member, message string
	}{
		{"page=0", "page", `page "0": ` + pages},
		{"page=-1", "page", `page "-1": ` + pages},
		{"page=2147483648", "page", `page "2147483648": ` + pages},
		{"Page=1.5", "page", `page "1.5": ` + pages},
		{"page=99999999999999999999", "page", `page "99999999999999999999": ` + pages},
		{"pageSize=0", "pageSize", `pageSize "0": ` + sizes},
		{"pageSize=5001", "pageSize", `pageSize "5001": ` + sizes},
		{"pageSize=many", "pageSize", `pageSize "many": ` + sizes},
		{"page=1&page=1", "page", "page is given 2 times; give it once"},
		{"pageSize=1&PageSize=2&PAGESIZE=3", "pageSize", "pageSize is given 3 times; give it once"},
		{"query=id%3D1&QUERY=", "query", "query is given 2 times; give it once"},
		{"orderBy=id&orderBy=type", "orderBy", "orderBy is given 2 times; give it once"},
		{"query=%3D%3D", "query", malformed},
		{"orderBy=-modifiedDate", "orderBy",
			`orderBy "-modifiedDate": a list of type Alert can be ordered by id, alertId, raisedOnUtc, descending with - in front`},
		{"orderBy=message", "orderBy",
			`orderBy "message": a list of type Alert can be ordered by id, alertId, raisedOnUtc, descending with - in front`},
		{"orderBy=-", "orderBy",
			`orderBy "-": a list of type Alert can be ordered by id, alertId, raisedOnUtc, descending with - in front`},
	} {
		_, err := query.ParseList(parseValues(t, test.values), query.Alerts())
		public, ok := errors.AsType[*herald.Error](err)
		if !ok || public.Code != herald.CodeInvalid || public.Member != test.member || public.Message != test.message {
			t.Errorf("ParseList(%q): error %v, want CodeInvalid of %s saying %q", test.values, err, test.member, test.message)
		}
	}
}

func TestOverlongParameterIsNotEchoedInFull(t *testing.T) {
	for _, name := range []string{"page", "pageSize", "orderBy"} {
		_, err := query.ParseList(url.Values{name: {strings.Repeat("x", 1<<20)}}, query.Rules())
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("%s of 1 MiB: want a short error, got one of %d bytes", name, len(err.Error()))
		}
	}
}

func TestOffset(t *testing.T) {
	for _, test := range []struct {
		page, size int
		want       int64
	}{
		{1, 100, 0},
		{5, 20, 80},
		{query.MaxPage, query.MaxPageSize, min((math.MaxInt32-1)*5000, math.MaxInt)},
	} {
		if got := (query.List{Page: test.page, PageSize: test.size}).Offset(); int64(got) != test.want {
			t.Errorf("offset of page %d by %d = %d, want %d", test.page, test.size, got, test.want)
		}
	}
}

func TestLinks(t *testing.T) {
	for _, test := range []struct {
		name, path, values string
		total              int
		extra              url.Values
		want               string
	}{
		{"first of many", "/rules", "", 250, nil, `{
			"current": {"href": "/rules?page=1&pageSize=100"},
			"self": {"href": "/rules"},
			"next": {"href": "/rules?page=2&pageSize=100"}}`},
		{"in the middle", "/rules", "page=2", 250, nil, `{
			"current": {"href": "/rules?page=2&pageSize=100"},
			"self": {"href": "/rules"},
			"next": {"href": "/rules?page=3&pageSize=100"},
			"previous": {"href": "/rules?page=1&pageSize=100"}}`},
		{"last, not full", "/rules", "page=5&pageSize=20", 90, nil, `{
			"current": {"href": "/rules?page=5&pageSize=20"},
			"self": {"href": "/rules"},
			"previous": {"href": "/rules?page=4&pageSize=20"}}`},
		{"last, full", "/rules", "page=2&pageSize=50", 100, nil, `{
			"current": {"href": "/rules?page=2&pageSize=50"},
			"self": {"href": "/rules"},
			"previous": {"href": "/rules?page=1&pageSize=50"}}`},
		{"beyond the end", "/rules", "page=2147483647&pageSize=5000", 3, nil, `{
			"current": {"href": "/rules?page=2147483647&pageSize=5000"},
			"self": {"href": "/rules"},
			"previous": {"href": "/rules?page=2147483646&pageSize=5000"}}`},
		{"none", "/rules/alerts", "", 0, nil, `{
			"current": {"href": "/rules/alerts?page=1&pageSize=100"},
			"self": {"href": "/rules/alerts"}}`},
		{"query, order and extras", "/rules", "OrderBy=-type&Query=type%3DR%26D+é%2B%26%26type~x", 101,
			url.Values{"z": {"1", "2"}, "companyId": {someID}}, `{
			"current": {"href": "/rules?page=1&pageSize=100&query=type%3DR%26D%20%C3%A9%2B%26%26type~x&orderBy=-type&companyId=` + someID + `&z=1&z=2"},
			"self": {"href": "/rules"},
			"next": {"href": "/rules?page=2&pageSize=100&query=type%3DR%26D%20%C3%A9%2B%26%26type~x&orderBy=-type&companyId=` + someID + `&z=1&z=2"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := query.ParseList(parseValues(t, test.values), query.Rules())
			if err != nil {
				t.Fatal(err)
			}
			links := list.Links(test.path, test.total, test.extra)
			var got bytes.Buffer
			encoder := json.NewEncoder(&got)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(links); err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Compact(&want, []byte(test.want)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), strings.TrimSpace(got.String())); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNextLinkAsksForTheSameListOnePageOn(t *testing.T) {
	list, err := query.ParseList(url.Values{
		"page": {"3"}, "pageSize": {"7"}, "query": {"message ~ 100% + R&D; #1 && raisedOnUtc >= 2023-05-03"}, "orderBy": {"raisedOnUtc"},
	}, query.Alerts())
	if err != nil {
		t.Fatal(err)
	}
	next, err := url.Parse(list.Links("/rules/alerts", 100, nil).Next.Href)
	if err != nil {
		t.Fatal(err)
	}
	got, err := query.ParseList(next.Query(), query.Alerts())
	if err != nil {
		t.Fatal(err)
	}
	list.Page++
	if diff := cmp.Diff(list, got); diff != "" {
		t.Errorf("list of the next link (-want +got):\n%s", diff)
	}
}

func parseValues(t *testing.T, text string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(text)
	if err != nil {
		t.Fatalf("parameters %q of the test: %v", text, err)
	}
	return values
}

// FuzzListParameters: a parsed list is within its limits, and its current link parses to the
// same list.
func FuzzListParameters(f *testing.F) {
	for _, seed := range []string{
		"", "page=2&pageSize=5000", "page=0", "pageSize=5001", "PAGE=1&page=2", "page=99999999999999999999", "orderBy=-type", "orderBy=--type",
		"query=type%3DData%20sync%20completed%26%26id!%3D", "query=%00", "query={type=a||type=b}", "page=%2B1", "companyId=x&page=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		l, err := query.ParseList(values, query.Alerts())
		if err != nil {
			if herald.CodeOf(err) != herald.CodeInvalid {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if l.Page < 1 || l.Page > query.MaxPage || l.PageSize < 1 || l.PageSize > query.MaxPageSize || l.Offset() < 0 {
			t.Errorf("%q: page %d of %d", raw, l.Page, l.PageSize)
		}
		current, err := url.Parse(l.Links("/rules/alerts", 1, nil).Current.Href)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if again, err := query.ParseList(current.Query(), query.Alerts()); err != nil || !cmp.Equal(l, again) {
			t.Errorf("%q: its current link, %s, is read as %+v, %v; want %+v", raw, current, again, err, l)
		}
	})
}
