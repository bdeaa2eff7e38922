package codat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// TestMinimalRuleIsForAllCompanies is checks B1 and B2, with other bodies that the
// surface accepts.
func TestMinimalRuleIsForAllCompanies(t *testing.T) {
	for name, body := range map[string]string{
		"minimal":              `{"type":"Data sync completed","notifiers":{}}`,
		"no notifiers":         `{"type":"Data sync completed"}`,
		"null company":         `{"type":"Data sync completed","companyId":null}`,
		"empty company":        `{"type":"Data sync completed","companyId":""}`,
		"zero company":         `{"type":"Data sync completed","companyId":"` + zeroID + `"}`,
		"nulls":                `{"type":"Data sync completed","companyId" : null ,"notifiers":{"emails": null,"webhook": null}}`,
		"null notifiers":       `{"type":"Data sync completed","notifiers":null}`,
		"empty notifiers":      `{"type":"Data sync completed","notifiers":{"emails":[],"webhook":""}}`,
		"unknown members":      `{"type":"Data sync completed","name":7,"notifiers":{"sms":["1"]},"enabled":null}`,
		"an id of its own":     `{"id":"` + someID + `","type":"Data sync completed"}`,
		"an id that is no id":  `{"id":[7],"type":"Data sync completed"}`,
		"names in other cases": `{"TYPE":"Data sync completed","CompanyID":"","Notifiers":{"Emails":[],"WebHook":""}}`,
		"blanks around":        " \r\n\t" + `{"type":"Data sync completed"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t)
			got := r.must(200, "POST", "/rules", body)
			same(t, body, `{"id":"ID","type":"Data sync completed","notifiers":{"emails":[]}}`, withoutID(got))
			if strings.Contains(got, someID) {
				t.Errorf("the caller's id is taken: %s", got)
			}
			if stored := r.rules[0]; stored.ClientID != r.acme || stored.CompanyID != uuid.Nil || stored.ID == uuid.Nil {
				t.Errorf("stored as %+v", stored)
			}
		})
	}
}

func TestFullRuleIsEchoedListedAndRead(t *testing.T) {
	r := newFixture(t)
	body := r.must(200, "POST", "/rules", `{"type":"DataConnectionStatusChanged","companyId":"`+strings.ToUpper(someID)+`",
		"notifiers":{"emails":["a@example.com"],"webhook":"https://example.com/hook?a=1&b=<2>"}}`)
	want := `{"id":"ID","type":"DataConnectionStatusChanged","companyId":"` + someID +
		`","notifiers":{"emails":["a@example.com"],"webhook":"https://example.com/hook?a=1&b=<2>"}}`
	same(t, "POST", want, withoutID(body))
	same(t, "GET", body, r.must(200, "GET", "/rules/"+r.rules[0].ID.String(), ""))
	list := `{"results":[` + body + `],"pageNumber":1,"pageSize":100,"totalResults":1,"_links":{"current":{"href":"/rules?page=1&pageSize=100"},"self":{"href":"/rules"}}}`
	same(t, "list", list, r.must(200, "GET", "/rules", ""))
}

func TestEqualRulesAreTwoRules(t *testing.T) {
	r := newFixture(t)
	if a, b := r.create(`{"type":"Sync Failed"}`), r.create(`{"type":"Sync Failed"}`); a.ID == b.ID || len(r.rules) != 2 {
		t.Errorf("%d rules, %s and %s", len(r.rules), a.ID, b.ID)
	}
}

func TestLastOfRepeatedMembersCounts(t *testing.T) {
	r := newFixture(t)
	// Several rounds, because an order that depends on a map's is only sometimes wrong.
	for range 20 {
		rule := r.create(`{"type":"Sync Failed","Type":"Sync Completed","tYpE":"Sync Started",
			"notifiers":{"webhook":"https://a.example/","WEBHOOK":"https://b.example/"}}`)
		if rule.Type != "Sync Started" || rule.Webhook != "https://b.example/" {
			t.Fatalf("stored as %+v", rule)
		}
	}
}

// TestEverySpellingIsAccepted is check B3: the answer has the posted spelling, and the
// store has it and the canonical name.
func TestEverySpellingIsAccepted(t *testing.T) {
	r := newFixture(t)
	types, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(spelling, name string) {
		t.Helper()
		quoted, err := json.Marshal(spelling)
		if err != nil {
			t.Fatal(err)
		}
		body := r.must(200, "POST", "/rules", fmt.Sprintf(`{"type":%s}`, quoted))
		same(t, spelling, `{"id":"ID","type":"`+spelling+`","notifiers":{"emails":[]}}`, withoutID(body))
		if stored := r.rules[len(r.rules)-1]; stored.Type != name || stored.PostedType != spelling {
			t.Errorf("%q is stored as type %q, posted %q; want %q", spelling, stored.Type, stored.PostedType, name)
		}
	}
	for _, kind := range types.Types() {
		for _, spelling := range append(kind.Spellings, kind.Name, strings.ToUpper(kind.Name), " "+strings.ReplaceAll(kind.Name, " ", "   ")) {
			check(spelling, kind.Name)
		}
	}
	for _, retired := range []string{"CompanyStatusChanged", "DebtorsOutstandingLoanOutstandingRatio(>,0.5)"} {
		check(retired, retired)
	}
}

func TestOnlyRateLimitRulesLoseTheirCompany(t *testing.T) {
	own := herald.EventType{Name: "Parcel lost", Message: "m"}
	r := newFixture(t, own)
	for kind, want := range map[string]uuid.UUID{
		"Rate Limit Reached":     uuid.Nil,
		"Rate Limit Reset":       uuid.Nil,
		"ClientRateLimitReached": uuid.Nil,
		"Sync Failed":            uuid.MustParse(someID),
		"CompanyStatusChanged":   uuid.MustParse(someID),
		"Parcel lost":            uuid.MustParse(someID),
	} {
		if rule := r.create(`{"type":"` + kind + `","companyId":"` + someID + `"}`); rule.CompanyID != want {
			t.Errorf("%s: company %s, want %s", kind, rule.CompanyID, want)
		}
	}
	// The surface checks a company that it then drops.
	r.refused("companyId", "POST", "/rules", `{"type":"Rate Limit Reset","companyId":"x"}`)
}

// TestWrongMemberIsNamed is check B4 with more cases.
func TestWrongMemberIsNamed(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed"}`)
	for body, member := range map[string]string{
		`{}`:                                     "type",
		`{"type":"Parcel lost"}`:                 "type",
		`{"type":null}`:                          "type",
		`{"type":""}`:                            "type",
		`{"type":"  "}`:                          "type",
		`{"type":7}`:                             "type",
		`{"type":{"a":1}}`:                       "type",
		`{"type":"Sync\u0000"}`:                  "type",
		`{"companyId":"x"}`:                      "type",
		`{"type":"Sync Failed","companyId":"x"}`: "companyId",
		`{"type":"Sync Failed","companyId":7}`:   "companyId",
		`{"type":"Sync Failed","companyId":[]}`:  "companyId",
		`{"type":"Sync Failed","companyId":"{` + someID + `}"}`:                                                                                       "companyId",
		`{"type":"Sync Failed","companyId":"urn:uuid:` + someID + `"}`:                                                                                "companyId",
		`{"type":"Sync Failed","companyId":" ` + someID + `"}`:                                                                                        "companyId",
		`{"type":"Sync Failed","notifiers":[]}`:                                                                                                       "notifiers",
		`{"type":"Sync Failed","notifiers":"https://example.com/"}`:                                                                                   "notifiers",
		`{"type":"Sync Failed","notifiers":{"webhook":7}}`:                                                                                            "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"webhook":["https://example.com/"]}}`:                                                                     "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"webhook":"https://example.com/\u0000"}}`:                                                                 "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"emails":"a@x.test"}}`:                                                                                    "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":{}}}`:                                                                                            "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test",7]}}`:                                                                                "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":[""]}}`:                                                                                          "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test",null]}}`:                                                                             "notifiers.emails[1]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test"," , ,"]}}`:                                                                           "notifiers.emails[1]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@[192.0.2.1]"]}}`:                                                                             "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@192.0.2.1"]}}`:                                                                               "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@b_c.test"]}}`:                                                                                "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["jörg@x.test"]}}`:                                                                               "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["nobody"]}}`:                                                                                    "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["A <a@x.test>"]}}`:                                                                              "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test, nobody"]}}`:                                                                          "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test\r\nBcc: b@x.test"]}}`:                                                                 "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test;b@x.test"]}}`:                                                                         "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a\u0000@x.test"]}}`:                                                                            "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["` + strings.Join(addresses(51), `","`) + `"]}}`:                                                "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["` + strings.Join(addresses(51), `, `) + `"]}}`:                                                 "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["` + strings.Repeat(`a@x.test","`, 150) + `a@x.test"]}}`:                                        "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test` + strings.Repeat(" ", 12_000) + `","b@x.test` + strings.Repeat(" ", 12_000) + `"]}}`: "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test` + strings.Repeat(",", 900_000) + `"]}}`:                                              "notifiers.emails[0]",
		`{"type":"` + strings.Repeat("x", 100_000) + `"}`:                                                                                             "type",
		`{"type":"Sync Failed","companyId":"` + strings.Repeat("x", 100_000) + `"}`:                                                                   "companyId",
		`{"type":"Sync Failed","notifiers":{"emails":["` + strings.Repeat("x", 100_000) + `"]}}`:                                                      "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["` + strings.Repeat("x", 100_000) + "@" + `x.test >"]}}`:                                        "notifiers.emails[0]",
	} {
		r.refused(member, "POST", "/rules", body)
		r.refused(member, "PUT", "/rules/"+rule.ID.String(), body)
		if text := r.as(acmeKey, "POST", "/rules", body).Body; text.Len() > 2000 {
			t.Errorf("%.100s: the answer has %d bytes", body, text.Len())
		}
	}
	if len(r.rules) != 1 || r.rules[0].Type != "Sync Failed" {
		t.Errorf("a refused call changed the rules: %+v", r.rules)
	}
}

// addresses returns n e-mail addresses.
func addresses(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("a%d@x.test", i)
	}
	return all
}

func TestWebhookThatMayNotBeCalledIsRefused(t *testing.T) {
	r := newFixture(t)
	for _, address := range []string{"/hook", "example.com/hook", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "https:///hook",
		"http://10.0.0.1/", "http://127.1/", "http://localhost/", "http://[::1]/", "https://user:pw@example.com/", " ", "https://exa mple.com/"} {
		f := failed(t, r.as(acmeKey, "POST", "/rules", `{"type":"Sync Failed","notifiers":{"webhook":"`+address+`"}}`))
		if f.Status != 400 || f.ItemID != "notifiers.webhook" {
			t.Errorf("%q: %+v, want 400 about notifiers.webhook", address, f)
		}
	}
	for _, address := range []string{"http://example.com", "HTTPS://example.com:8443/a/b?c=d", "https://8.8.8.8/"} {
		if rule := r.create(`{"type":"Sync Failed","notifiers":{"webhook":"` + address + `"}}`); rule.Webhook != address {
			t.Errorf("%q is stored as %q", address, rule.Webhook)
		}
	}
}

// TestEmailsAreEchoedAsPosted is check B19.
func TestEmailsAreEchoedAsPosted(t *testing.T) {
	for _, test := range []struct {
		emails string
		boxes  []string
	}{
		{`["a@x.test, b@x.test"]`, []string{"a@x.test", "b@x.test"}},
		{`["a@x.test,","A@X.test"," b@x.test "]`, []string{"a@x.test", "b@x.test"}},
		{`["joerg@bücher.example","o'neil+x@x.test"]`, []string{"joerg@bücher.example", "o'neil+x@x.test"}},
		{`["` + strings.Join(addresses(50), `","`) + `"]`, addresses(50)},
	} {
		r := newFixture(t)
		body := r.must(200, "POST", "/rules", `{"type":"Sync Failed","notifiers":{"emails":`+test.emails+`}}`)
		same(t, test.emails, `{"id":"ID","type":"Sync Failed","notifiers":{"emails":`+test.emails+`}}`, withoutID(body))
		if diff := cmp.Diff(test.boxes, herald.Mailboxes(r.rules[0].Emails)); diff != "" {
			t.Errorf("%s: recipients (-want +got):\n%s", test.emails, diff)
		}
	}
}

// TestListByCompanyLeavesAllCompanyRulesOut is check B9.
func TestListByCompanyLeavesAllCompanyRulesOut(t *testing.T) {
	r := newFixture(t)
	r.create(`{"type":"Sync Failed"}`)
	bound := r.create(`{"type":"Sync Failed","companyId":"` + someID + `"}`)
	r.create(`{"type":"Sync Failed","companyId":"` + uuid.NewString() + `"}`)
	want := `{"results":[{"id":"` + bound.ID.String() + `","type":"Sync Failed","companyId":"` + someID + `","notifiers":{"emails":[]}}],` +
		`"pageNumber":1,"pageSize":100,"totalResults":1,"_links":{"current":{"href":"/rules?page=1&pageSize=100&companyId=` + someID + `"},"self":{"href":"/rules"}}}`
	same(t, "list", want, r.must(200, "GET", "/rules?companyId="+someID, ""))
	for _, all := range []string{"/rules?companyId=", "/rules?companyId=" + zeroID} {
		if body := r.must(200, "GET", all, ""); !strings.Contains(body, `"totalResults":3`) || strings.Contains(body, "href\":\"/rules?page=1&pageSize=100&") {
			t.Errorf("%s: %s, want all three", all, body)
		}
	}
}

// TestRuleIsReplaced is check B10 and the rest of spec section 5.9.
func TestRuleIsReplaced(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed","companyId":"` + someID + `","notifiers":{"emails":["a@x.test"],"webhook":"https://example.com/"}}`)
	r.rules[0].WithoutAuthorization = true
	path := "/rules/" + rule.ID.String()
	for _, test := range []struct{ body, want string }{
		{`{"id":"` + rule.ID.String() + `","type":"Sync Failed","companyId":"` + someID + `","notifiers":{"webhook":"https://example.com/new"}}`,
			`{"id":"` + rule.ID.String() + `","type":"Sync Failed","companyId":"` + someID + `","notifiers":{"emails":[],"webhook":"https://example.com/new"}}`},
		{`{"type":"sync-complete","notifiers":{"emails":["b@x.test"]}}`, // without companyId: all companies
			`{"id":"` + rule.ID.String() + `","type":"sync-complete","notifiers":{"emails":["b@x.test"]}}`},
		{`{"id":"` + strings.ToUpper(rule.ID.String()) + `","type":"Sync Failed"}`,
			`{"id":"` + rule.ID.String() + `","type":"Sync Failed","notifiers":{"emails":[]}}`},
		{`{"id":null,"type":"Sync Failed"}`,
			`{"id":"` + rule.ID.String() + `","type":"Sync Failed","notifiers":{"emails":[]}}`},
	} {
		same(t, test.body, test.want, r.must(200, "PUT", path, test.body))
		same(t, "GET afterwards", test.want, r.must(200, "GET", path, ""))
	}
	want := []herald.Rule{{ID: rule.ID, ClientID: r.acme, Type: "Sync Failed", PostedType: "Sync Failed", WithoutAuthorization: true}}
	if diff := cmp.Diff(want, r.rules, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	for _, id := range []string{`"` + someID + `"`, `"x"`, `7`, `"` + zeroID + `"`} {
		r.refused("id", "PUT", path, `{"id":`+id+`,"type":"Sync Failed"}`)
	}
}

func TestRuleIsDeletedOnce(t *testing.T) {
	r := newFixture(t)
	path := "/rules/" + r.create(`{"type":"Sync Failed"}`).ID.String()
	if body := r.must(200, "DELETE", path, ""); body != "" {
		t.Errorf("body %q, want none", body)
	}
	for _, method := range []string{"GET", "DELETE", "PUT"} {
		if f := failed(t, r.as(acmeKey, method, path, `{"type":"Sync Failed"}`)); f.Status != 404 || f.Error != "No rule was found with ID "+strings.TrimPrefix(path, "/rules/") {
			t.Errorf("%s afterwards: %+v, want 404", method, f)
		}
	}
}

// FuzzRuleBody: every body gets a 200 with a rule that stays the same when it is posted
// again, or a 400 that names a member.
func FuzzRuleBody(f *testing.F) {
	for _, body := range []string{``, `{}`, `[]`, `null`, `{"type":"Sync Failed"}`, `{"TYPE":"sync-failed","type":7}`, `{"type":"Sync Failed","companyId":""}`,
		`{"type":"Sync Failed","companyId":"` + someID + `","notifiers":{"emails":["a@x.test, b@x.test"],"webhook":"https://example.com/?a=b&c"}}`,
		`{"type":"Sync Failed","notifiers":{"emails":[null]}}`, `{"type":"CurrentAssetsCurrentLiabilitiesRatio(<,1.5)"}`, `{"type":"\ud800"}`, "{\"type\":\"\xff\"}"} {
		f.Add(body)
	}
	r := newFixture(f)
	f.Fuzz(func(t *testing.T, body string) {
		got := r.as(acmeKey, "POST", "/rules", body)
		if got.Code != 200 {
			if e := failed(t, got); e.Status != 400 || e.ItemID == "" {
				t.Errorf("%q: %+v", body, e)
			}
			return
		}
		stored := r.rules[0]
		r.rules = nil
		if stored.ClientID != r.acme || stored.Type == "" || stored.PostedType == "" || strings.ContainsRune(fmt.Sprint(stored), 0) {
			t.Errorf("%q is stored as %+v", body, stored)
		}
		again := r.as(acmeKey, "POST", "/rules", got.Body.String())
		if again.Code != 200 || withoutID(again.Body.String()) != withoutID(got.Body.String()) {
			t.Errorf("%q: answered with %s, which posted again gives %d %s", body, got.Body, again.Code, again.Body)
		}
		r.rules = nil
	})
}

// TestBlanksAroundATypeAreNotKept: a megabyte of them was kept and cached.
func TestBlanksAroundATypeAreNotKept(t *testing.T) {
	r := newFixture(t)
	for posted, want := range map[string]string{
		" sync-failed\t": " sync-failed\t", // answers repeat the posted text
		strings.Repeat(" ", 500_000) + "sync-failed" + strings.Repeat(" ", 400_000): "sync-failed",
	} {
		text, err := json.Marshal(map[string]string{"type": posted})
		if err != nil {
			t.Fatal(err)
		}
		got := r.as(acmeKey, "POST", "/rules", string(text))
		if made := r.rules[len(r.rules)-1]; got.Code != 200 || made.PostedType != want || made.Type != "Sync Failed" {
			t.Errorf("%.20q: %d, the type has %d bytes, want %d", posted, got.Code, len(made.PostedType), len(want))
		}
	}
}

// TestAPreviewReadsARuleAsMakingOneDoes sends each body to both calls.
func TestAPreviewReadsARuleAsMakingOneDoes(t *testing.T) {
	r := newFixture(t)
	for body, member := range map[string]string{
		`{}`: "type", `{"type":"no such type"}`: "type", `{"type":"Sync Failed","companyId":"x"}`: "companyId",
		`{"type":"Sync Failed","notifiers":{"webhook":"ftp://x"}}`:                 "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"webhook":"https://10.0.0.1/"}}`:       "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"emails":["a@acme.example","no@@x"]}}`: "notifiers.emails[1]",
	} {
		made, previewed := failed(t, r.as(acmeKey, "POST", "/rules", body)), failed(t, r.as(acmeKey, "POST", "/rules/preview", body))
		if made.Status != 400 || made.ItemID != member || previewed != made {
			t.Errorf("%s: a rule is refused with %+v, a preview with %+v", body, made, previewed)
		}
	}
	got := r.must(200, "POST", "/rules/preview", `{"TYPE":"sync-failed","companyId":"`+someID+`","notifiers":{"webhook":"https://acme.example/"}}`)
	for _, want := range []string{`"type":"Sync Failed"`, `"companyId":"` + someID + `"`, `"summary":"` + r.acme.String() + `"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s has no %s", got, want)
		}
	}
	if len(r.rules) != 0 {
		t.Errorf("a preview made %d rules", len(r.rules))
	}
}
