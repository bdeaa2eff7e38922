package portal

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

// has fails unless a page has all the texts.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not have %q", text)
		}
	}
}

// TestRuleIsSavedAsTheAPISavesIt: the form's texts become the rule that a POST of them would make.
func TestRuleIsSavedAsTheAPISavesIt(t *testing.T) {
	f := newFixture(t)
	session, company := f.signedIn("acme"), uuid.New()
	typed := url.Values{"type": {" sync failed "}, "webhook": {"https://a.example/hook "}, "emails": {"a@b.example\r\n\r\n c@d.example, e@f.example\n"}, "companyId": {company.String()}}
	want := herald.Rule{ClientID: acme, Type: "Sync Failed", PostedType: "sync failed", CompanyID: company, Webhook: "https://a.example/hook", Emails: []string{"a@b.example", "c@d.example, e@f.example"}}
	w := f.request(session, http.MethodPost, of(acme, "/rules"), typed)
	made := f.saved
	if want.ID = made.ID; w.Code != http.StatusSeeOther || made.ID == uuid.Nil || w.Header().Get("Location") != of(acme, "/rules/"+made.ID.String()+"?notice=rule-created") {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.request(session, http.MethodPost, of(acme, "/rules/"+acme.String()+"/edit"), typed)
	if want.ID = acme; cmp.Diff(want, f.saved) != "" {
		t.Errorf("saved %+v", f.saved)
	}
	f.fail = herald.Errorf(herald.CodeConflict, "The client has 10 rules.")
	if w := f.request(session, http.MethodPost, of(acme, "/rules"), typed); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "The client has 10 rules.") {
		t.Errorf("one rule too many: status %d", w.Code)
	}
}

// TestWrongRuleIsSaidBesideItsFields: all of them at once, with what was typed, and nothing is saved.
func TestWrongRuleIsSaidBesideItsFields(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/rules", "/rules/" + acme.String() + "/edit"} {
		w := f.request(f.signedIn("acme"), http.MethodPost, of(acme, target), url.Values{"type": {"Sync Faild"}, "webhook": {"ftp://x"}, "emails": {"nobody"}, "companyId": {"x<y"}})
		text := w.Body.String()
		if w.Code != http.StatusUnprocessableEntity || len(f.changed) != 0 {
			t.Errorf("%s: status %d, did %v", target, w.Code, f.changed)
		}
		if strings.Contains(text, "GET /") {
			t.Errorf("%s speaks of calls of the API", target)
		}
		has(t, text, "4 fields are not right. Nothing was saved.", `role="alert"`, "Did you mean", "Sync Failed", `value="Sync Faild"`, `value="ftp://x"`, "nobody</textarea>", `value="x&lt;y"`)
		for _, name := range []string{"type", "webhook", "emails", "companyId"} {
			has(t, text, `<a href="#`+name+`"`, `id="`+name+`-error"`, `aria-invalid="true" aria-describedby="`+name+`-error `+name+`-hint"`)
		}
	}
	has(t, f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/rules/new")), `<datalist id="type-options">`, `<option value="Sync Failed">`, `list="type-options"`)
	has(t, f.page(f.signedIn("analyst"), http.StatusOK, of(acme, "/rules/new")), `disabled aria-describedby="no-save"`, "who only looks")
}

func TestListOfRulesHasItsStates(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.rules[0].Emails = []string{"a@b.example, c@d.example", "e@f.example", "g@h.example"}
	has(t, f.page(session, http.StatusOK, of(acme, "/rules")), "Sync Failed", "https://"+acme.String()+".example/hook, a@b.example, 3 more", "1 h ago", `href="`+of(acme, "/rules/new")+`"`)
	has(t, f.page(session, http.StatusUnprocessableEntity, of(acme, "/rules?company=x")), "The filter cannot be read", "is not an id", "Clear filters")
	f.page(session, http.StatusBadRequest, of(acme, "/rules?page=0"))
	f.page(session, http.StatusBadRequest, of(acme, "/rules?page=99999999999999999999"))
	one := f.page(session, http.StatusOK, of(acme, "/rules/"+acme.String()))
	has(t, one, "1 alert", "secret of "+acme.String(), "/deliveries?alert=", "receiver=mailto%3Aa%40b.example")
	f.rules[0].Webhook, f.rules[0].Emails, f.deliveries = "", nil, nil
	has(t, f.page(session, http.StatusOK, of(acme, "/rules")), "No receiver", "No alert yet")
	has(t, f.page(session, http.StatusOK, of(acme, "/rules/"+acme.String())), "its alerts reach nobody", "No alert yet")
	f.rules = nil
	has(t, f.page(session, http.StatusOK, of(acme, "/rules")), "There is no rule yet")
	has(t, f.page(session, http.StatusOK, of(acme, "/rules?company="+acme.String())), "Nothing matches", "Clear filters")
	has(t, f.page(f.signedIn("analyst"), http.StatusOK, of(acme, "/rules")), `disabled aria-describedby="no-new"`)
}

// TestDeletingARuleSaysWhatStillWaits, and cancels it only if asked.
func TestDeletingARuleSaysWhatStillWaits(t *testing.T) {
	f := newFixture(t)
	session, rule := f.signedIn("acme"), of(acme, "/rules/"+acme.String()+"/delete")
	has(t, f.page(session, http.StatusOK, rule), "No delivery of it waits.")
	for i := range f.deliveries {
		f.deliveries[i].State = herald.Pending
	}
	other := f.deliveries[0]
	other.ID, other.RuleID = herald.DeliveryID(other.AlertID, 1), uuid.New()
	f.deliveries = append(f.deliveries, other)
	has(t, f.page(session, http.StatusOK, rule), "1 delivery of it waits and will still be sent.", `name="cancel"`)
	f.request(session, http.MethodPost, rule, url.Values{})
	if w := f.request(session, http.MethodPost, rule, url.Values{"cancel": {"yes"}}); w.Code != http.StatusSeeOther {
		t.Errorf("status %d", w.Code)
	}
	if diff := cmp.Diff([]string{"delete rule", "cancel"}, f.changed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProfileKeepsTheHeader(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.profile = herald.Profile{AlertAuthHeader: "Bearer hunter2", LogoURL: "https://a.example/logo.png"}
	text := f.page(session, http.StatusOK, of(acme, "/settings"))
	has(t, text, `value="Acme"`, `value="https://a.example/logo.png"`)
	if w := f.request(session, http.MethodPost, of(acme, "/settings"), url.Values{"name": {" "}, "logoUrl": {"javascript:alert(1)"}}); w.Code != http.StatusUnprocessableEntity || len(f.changed) != 0 {
		t.Errorf("status %d, did %v", w.Code, f.changed)
	} else {
		has(t, w.Body.String(), "2 fields are not right", `id="name-error"`, `id="logoUrl-error"`)
	}
	f.request(session, http.MethodPost, of(acme, "/settings"), url.Values{"name": {"New"}, "whiteListUrls": {"https://a.example\nhttps://b.example\n"}, "confirmCompanyName": {"yes"}})
	want := herald.Profile{Name: "New", WhiteListURLs: []string{"https://a.example", "https://b.example"}, ConfirmCompanyName: true, AlertAuthHeader: "Bearer hunter2"}
	if diff := cmp.Diff(want, f.profile); diff != "" || f.changed[0] != "save profile" {
		t.Errorf("did %v (-want +got):\n%s", f.changed, diff)
	}
}

// TestSecretIsNeverShown: the page says the scheme, when it was changed and by whom, and no more.
func TestSecretIsNeverShown(t *testing.T) {
	f := newFixture(t)
	at := of(acme, "/settings/security")
	for header, want := range map[string]string{"": "No Authorization header is sent.", "Bearer hunter2": "Bearer: a token is sent.", "Basic aHVudGVyMg==": "Basic: a user name", "hunter2": "another kind"} {
		f.profile.AlertAuthHeader = header
		for _, key := range []string{"acme", "analyst", "operator"} {
			text := f.page(f.signedIn(key), http.StatusOK, at)
			if strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
				t.Errorf("%s sees the secret of %q", key, header)
			}
			if key == "acme" {
				has(t, text, want, "It was changed <time", "by the key “ci”")
			} else if header != "" && strings.Contains(text, "<strong>"+want) {
				t.Errorf("%s sees the scheme of %q", key, header)
			}
			if key == "analyst" && strings.Contains(text, "It was changed") {
				t.Error("an analyst sees what the audit log has")
			}
		}
	}
	w := f.request(f.signedIn("acme"), http.MethodPost, at, url.Values{"scheme": {"basic"}, "user": {"an:n"}, "password": {"s3cret"}, "token": {"t0ken"}})
	if w.Code != http.StatusUnprocessableEntity || len(f.changed) != 0 || strings.Contains(w.Body.String(), "s3cret") || strings.Contains(w.Body.String(), "t0ken") {
		t.Errorf("wrong input: status %d, did %v", w.Code, f.changed)
	}
	has(t, w.Body.String(), "A user name of Basic has no colon.", `value="basic" checked`)
	if w := f.request(f.signedIn("acme"), http.MethodPost, at, url.Values{}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("no choice: status %d", w.Code)
	}
	for _, test := range []struct {
		typed url.Values
		want  string
	}{
		{url.Values{"scheme": {"basic"}, "user": {"ann"}, "password": {"s3:cret"}, "token": {"x"}}, "Basic YW5uOnMzOmNyZXQ="},
		{url.Values{"scheme": {"bearer"}, "token": {"t0ken"}}, "Bearer t0ken"}, {url.Values{"scheme": {"other"}, "value": {"k 1"}}, "k 1"}, {url.Values{"scheme": {"none"}, "token": {"x"}}, ""},
	} {
		f.request(f.signedIn("acme"), http.MethodPost, at, test.typed)
		if f.profile.AlertAuthHeader != test.want || f.changed[len(f.changed)-1] != "save header" {
			t.Errorf("%v: saved %+v", test.typed, f.profile)
		}
	}
}

func TestKeyIsShownOnce(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/settings/keys")
	w := f.request(session, http.MethodPost, at, url.Values{"name": {"billing"}, "role": {"analyst"}})
	if w.Code != http.StatusCreated || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("status %d", w.Code)
	}
	has(t, w.Body.String(), "hk-plain-text", "it is not shown again", `data-copy-from="made"`)
	text := f.page(session, http.StatusOK, at)
	if strings.Contains(text, "hk-plain-text") {
		t.Error("the key is shown twice")
	}
	has(t, text, "no use known", "3 h ago")
	has(t, text, "Only an administrator revokes it.", "only an administrator makes one", `href="`+at+"/"+keyID(acme).String()+`/revoke"`)
	f.changed = nil
	if w := f.request(session, http.MethodPost, at, url.Values{"role": {"administrator"}}); w.Code != http.StatusForbidden || len(f.changed) != 0 {
		t.Errorf("a developer makes an administrator's key: status %d, did %v", w.Code, f.changed)
	}
	if w := f.request(session, http.MethodPost, at, url.Values{"role": {"boss"}, "name": {strings.Repeat("x", 51)}}); w.Code != http.StatusUnprocessableEntity || len(f.changed) != 0 {
		t.Errorf("wrong input: status %d, did %v", w.Code, f.changed)
	}
	f.keys = 1
	has(t, f.page(session, http.StatusOK, at), "The last key stays.")
	text = f.page(f.signedIn("analyst"), http.StatusOK, at)
	if strings.Contains(text, keyID(acme).String()) || !strings.Contains(text, "does not see keys") {
		t.Error("an analyst sees keys")
	}
	f.page(f.signedIn("analyst"), http.StatusForbidden, at+"/"+keyID(acme).String()+"/revoke")
}

func TestMailboxesThatWantNoMailAreFound(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/settings/mail")
	for i := range 300 {
		f.unsubscribed = append(f.unsubscribed, herald.Unsubscribed{Address: fmt.Sprintf("%d@many.example", i), At: noon})
	}
	text := f.page(session, http.StatusOK, at)
	if has(t, text, "200 of 301 mailboxes are shown."); len(text) > 150_000 {
		t.Errorf("the page has %d bytes", len(text))
	}
	has(t, f.page(session, http.StatusOK, at+"?find=299%40MANY"), "299@many.example", "Allow mail")
	has(t, f.page(session, http.StatusOK, at+"?find=nobody"), "Nothing matches", "Clear filters")
	if w := f.request(session, http.MethodPost, at, url.Values{"address": {"reader@" + rival.String() + ".example"}}); w.Code != http.StatusNotFound || len(f.changed) != 0 {
		t.Errorf("another client's mailbox: status %d", w.Code)
	}
	has(t, f.page(f.signedIn("analyst"), http.StatusOK, at+"?find=299"), "disabled", "who only looks")
}

// TestAuditLogIsSearched: by kind, actor and time, to the last entry, with pages.
func TestAuditLogIsSearched(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/settings/audit")
	for i := range 500 {
		id := herald.FirstIDAt(noon.Add(-time.Duration(i) * time.Minute))
		c := herald.Change{ID: id, At: noon.Add(-time.Duration(i) * time.Minute), ClientID: acme, Action: herald.RuleUpdated, Subject: acme.String(), Actor: herald.ActorOperator,
			Before: []byte(`{"type":"Sync Failed","webhook":"https://old.example"}`), After: []byte(`{"type":"Sync Failed","webhook":"https://new.example"}`)}
		if i == 400 {
			c.Action, c.Actor, c.APIKeyID, c.Before, c.After = herald.KeyCreated, herald.ActorKey, uuid.New(), nil, []byte(`{"name":"<b>ci</b>","role":"developer"}`)
		}
		f.changes = append(f.changes, c)
	}
	text := f.page(session, http.StatusOK, at)
	has(t, text, "Rule changed", "https://old.example", "<ins>https://new.example</ins>", "the operator", `rel="next"`)
	if n := strings.Count(text, "Rule changed"); n != auditPage || len(text) > 60_000 {
		t.Errorf("%d rows, %d bytes", n, len(text))
	}
	text = f.page(session, http.StatusOK, at+"?action=apiKey&actor=apiKey")
	if has(t, text, "API key made", "&lt;b&gt;ci&lt;/b&gt;", "a key that was revoked since"); strings.Contains(text, "Rule changed") || strings.Contains(text, `rel="next"`) {
		t.Error("the filter lets others through")
	}
	if n := strings.Count(f.page(session, http.StatusOK, at+"?since=2026-05-03T11:00&until=2026-05-03T11:10:30"), "Rule changed"); n != 11 {
		t.Errorf("%d changes in eleven minutes", n)
	}
	has(t, f.page(session, http.StatusOK, at+"?action=mailbox"), "Nothing matches", "Clear filters")
	for _, wrong := range []string{"action=x", "actor=x", "since=x", "until=x"} {
		has(t, f.page(session, http.StatusUnprocessableEntity, at+"?"+wrong), "The filter cannot be read", `aria-invalid="true"`)
	}
	f.page(session, http.StatusBadRequest, at+"?after=x")
	text = f.page(f.signedIn("analyst"), http.StatusOK, at)
	if strings.Contains(text, "Rule changed") || !strings.Contains(text, "does not see the audit log") {
		t.Error("an analyst sees the audit log")
	}
}

// TestNotificationsAreSet: the page shows who hears when a receiver fails, checks what is typed, and switches it off.
func TestNotificationsAreSet(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/settings/notifications")
	has(t, f.page(session, http.StatusOK, at), "Nobody is told when a receiver fails.", "https://"+acme.String()+".example/told")
	good := url.Values{"failingAfterMinutes": {"10"}, "failingAfterDeliveries": {""}, "mailboxes": {"ops@acme.example\r\n\r\nops@acme.example\r\n"}, "webhooks": {"https://told.example/hook"}}
	with := func(name, value string) url.Values {
		changed := maps.Clone(good)
		changed[name] = []string{value}
		return changed
	}
	for _, test := range []struct {
		form url.Values
		want string
	}{
		{with("failingAfterMinutes", "ten"), "is no whole number"}, {with("failingAfterMinutes", "0"), "1 or more"}, {with("failingAfterMinutes", "-1"), "-1 is not from 0 to 10080"},
		{with("failingAfterDeliveries", "1000001"), "is not from 0 to 1000000"}, {with("mailboxes", "no mailbox"), "mailboxes-error"}, {with("webhooks", "ftp://x"), "webhooks-error"},
		{with("mailboxes", manyLines(21)), "at most 20"}, {url.Values{"failingAfterMinutes": {"1"}}, "Nobody would hear"},
	} {
		w := f.request(session, http.MethodPost, at, test.form)
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), test.want) || len(f.changed) > 0 {
			t.Errorf("%v: status %d, done %q; want %q in\n%s", test.form, w.Code, f.changed, test.want, w.Body)
		}
	}
	if w := f.request(session, http.MethodPost, at, good); w.Code != http.StatusSeeOther {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	want := herald.Notifications{On: true, AfterMinutes: 10, Mailboxes: []string{"ops@acme.example"}, Webhooks: []string{"https://told.example/hook"}}
	if diff := cmp.Diff(want, f.notified); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	has(t, f.page(session, http.StatusOK, at+"?notice=notifications-saved"), "Somebody is told when a receiver fails.", `value="10"`, "Switch off", "Saved. From now on")
	if w := f.request(session, http.MethodPost, at, url.Values{"do": {"off"}}); w.Code != http.StatusSeeOther || !slices.Equal(f.changed, []string{"notify", "stop notifying"}) {
		t.Errorf("switching off: status %d, done %q", w.Code, f.changed)
	}
	has(t, f.page(f.signedIn("analyst"), http.StatusOK, at), `disabled aria-describedby="no-save"`)
}

// manyLines are so many mailboxes.
func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x%d@b.example\n", i)
	}
	return b.String()
}
