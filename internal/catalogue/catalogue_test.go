package catalogue_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

func builtin(t testing.TB) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kind(t testing.TB, name string) *catalogue.Type {
	t.Helper()
	k, ok := builtin(t).Lookup(name)
	if !ok {
		t.Fatalf("no type %q", name)
	}
	return k
}

func event(k *catalogue.Type, data string) herald.Event {
	e := herald.Event{Type: k.Name, ClientID: uuid.New(), Data: json.RawMessage(data), OccurredAt: time.Date(2023, 5, 3, 9, 56, 17, 435711100, time.UTC)}
	if k.Company {
		e.CompanyID = uuid.New()
	}
	if k.Connection {
		e.ConnectionID = uuid.New()
	}
	return e
}

func member(err error) string {
	var e *herald.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Member
}

// TestSpellings is the table of spec section 5.3.
func TestSpellings(t *testing.T) {
	c := builtin(t)
	for name, spellings := range map[string][]string{
		"DataConnectionStatusChanged":       {"dataconnection-status-changed"},
		"New company synchronised":          {"New company synchronized", "company-new", "NewCompanySynchronized"},
		"Data sync completed":               {"pull-operation-complete", "DataSyncCompleted"},
		"Dataset data changed":              {"dataconnection-data-changed", "DatasetDataChanged"},
		"Data Sync Status Changed To Error": {"Data Sync Status Changed to Error", "pull-operation-failed", "DataSyncStatusChangedToError"},
		"Push Operation Status Changed()":   {"Push Operation Status Changed", "push-operation-complete", "PushOperationStatusChanged"},
		"Push Operation Timed Out":          {"push-operation-timed-out", "PushOperationTimedOut"},
		"Account Categories Updated":        {"account-categories-updated", "AccountCategoriesUpdated"},
		"Sync Connection Deleted":           {"sync-connection-deleted", "SyncConnectionDeleted"},
		"Sync Completed":                    {"sync-complete", "SyncCompleted"},
		"Sync Failed":                       {"sync-failed", "SyncFailed"},
		"Rate Limit Reached":                {"ClientRateLimitReached"},
		"Rate Limit Reset":                  {"ClientRateLimitReset"},
		"Sync Started":                      {"SyncStarted"},
		"CompanyStatusChanged":              {"companystatuschanged"},
	} {
		for _, spelling := range append(spellings, name, strings.ToLower(name), " "+strings.ReplaceAll(name, " ", "\t ")) {
			if got, ok := c.Lookup(spelling); !ok || got.Name != name {
				t.Errorf("%q is not %s", spelling, name)
			}
		}
	}
	for _, unknown := range []string{"", "Sync", "Data sync completed()", "CurrentAssetsCurrentLiabilitiesRatio(=,1)"} {
		if got, ok := c.Lookup(unknown); ok {
			t.Errorf("%q is %s", unknown, got.Name)
		}
	}
}

func TestDataIsCheckedByItsType(t *testing.T) {
	for _, test := range []struct{ kind, data, member string }{
		{"DataConnectionStatusChanged", `{"dataConnectionId":"1","newStatus":"Linked","oldStatus":"Gone","platformKey":"gbol"}`, "data.oldStatus"},
		{"DataConnectionStatusChanged", `{"dataConnectionId":"1","newStatus":"Linked","oldStatus":"Unlinked","platformKey":"gbol"}`, ""},
		{"New company synchronised", ``, ""},
		{"Data sync completed", `{"dataType":"invoices"}`, "data.datasetId"},
		{"Data sync completed", `{"dataType":"","datasetId":"1"}`, "data.dataType"},
		{"Data sync completed", `{"dataType":7,"datasetId":"1"}`, "data.dataType"},
		{"Data sync completed", ``, "data.dataType"},
		{"Data sync completed", `[]`, "data"},
		{"Data Sync Status Changed To Error", `{"dataType":"a","datasetStatus":"Complete","datasetId":"1"}`, "data.datasetStatus"},
		{"Push Operation Status Changed()", `{"dataType":"a","status":"Successful","pushOperationKey":"1"}`, "data.status"},
		{"Push Operation Timed Out", `{"dataType":"a","pushOperationGuid":"1"}`, ""},
		{"Push Operation Timed Out", `{"dataType":"a"}`, "data.pushOperationKey"},
		{"Account Categories Updated", `{"modifiedDate":null}`, "data.modifiedDate"},
		{"Sync Failed", `{"syncId":"1","syncType":"Expense","failureStage":"Pushing"}`, "data.FailureStage"},
		{"Rate Limit Reached", `{"DailyQuota":"1000","ExpiresUtc":"x"}`, "data.DailyQuota"},
		{"Rate Limit Reached", `{"DailyQuota":1000}`, "data.ExpiresUtc"},
		{"Rate Limit Reset", `{"ResetReason":"a new day","QuotaRemaining":null,"DailyQuota":null,"ExpiresUtc":null}`, ""},
		{"Rate Limit Reset", `{"QuotaRemaining":1}`, "data.ResetReason"},
	} {
		k := kind(t, test.kind)
		err := k.Validate(catalogue.NewBudget(t.Context()), event(k, test.data))
		if got := member(err); got != test.member || (err == nil) != (test.member == "") {
			t.Errorf("%s %s: %v, want one about %q", test.kind, test.data, err, test.member)
		}
	}
}

func TestEventNamesWhomItIsAbout(t *testing.T) {
	k := kind(t, "Data sync completed")
	e := event(k, string(k.Example))
	e.CompanyID = uuid.Nil
	if got := member(k.Validate(catalogue.NewBudget(t.Context()), e)); got != "companyId" {
		t.Errorf("without a company: names %q", got)
	}
	e = event(k, string(k.Example))
	e.ConnectionID = uuid.Nil
	if got := member(k.Validate(catalogue.NewBudget(t.Context()), e)); got != "dataConnectionId" {
		t.Errorf("without a connection: names %q", got)
	}
	k = kind(t, "Rate Limit Reset")
	e = event(k, string(k.Example))
	e.CompanyID = uuid.New()
	if got := member(k.Validate(catalogue.NewBudget(t.Context()), e)); got != "companyId" {
		t.Errorf("a client-wide event with a company: names %q", got)
	}
	if got := member(kind(t, "CompanyStatusChanged").Validate(catalogue.NewBudget(t.Context()), e)); got != "type" {
		t.Errorf("a retired type: names %q", got)
	}
}

func TestWhatIsDelivered(t *testing.T) {
	for _, test := range []struct{ kind, data, want string }{
		{"New company synchronised", `{"companyName":"x"}`, ``},
		{"Sync Connection Deleted", `{}`, ``},
		{"DataConnectionStatusChanged", `{"a":1,"platformName":"Gusto","b":2}`, `{"a":1,"b":2}`},
		{"Push Operation Timed Out", `{"pushOperationGuid":"g"}`, `{"pushOperationGuid":"g","pushOperationKey":"g"}`},
		{"Sync Failed", `{"more":"is kept"}`, `{"more":"is kept"}`},
	} {
		if got := string(kind(t, test.kind).Data(json.RawMessage(test.data))); got != test.want {
			t.Errorf("%s %s: delivered %s, want %s", test.kind, test.data, got, test.want)
		}
	}
}

func TestMessages(t *testing.T) {
	k := kind(t, "DataConnectionStatusChanged")
	data := `{"newStatus":"Linked","oldStatus":"PendingAuth","platformKey":"gbol"`
	for text, want := range map[string]string{
		data + `,"platformName":"Gusto"}`: "Data connection for Gusto status changed from PendingAuth to Linked",
		data + `,"platformName":""}`:      "Data connection for gbol status changed from PendingAuth to Linked",
		data + `}`:                        "Data connection for gbol status changed from PendingAuth to Linked",
	} {
		if got := k.Message(event(k, text)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	e := event(k, data+`}`)
	e.Message = "the publisher's own"
	if got := k.Message(e); got != e.Message {
		t.Errorf("%q, want the publisher's own", got)
	}
	k = kind(t, "Sync Failed")
	if got := k.Message(event(k, `{"syncId":"a\u0000b"}`)); strings.Contains(got, "\x00") {
		t.Errorf("%q holds a NUL, which no database takes", got)
	}
}

func TestAmericanSpelling(t *testing.T) {
	c, err := catalogue.New(nil, catalogue.Options{AmericanSpelling: true})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := c.Lookup("company-new")
	if k.Name != "New company synchronised" || k.Delivered != "New company synchronized" {
		t.Errorf("%s is delivered as %s", k.Name, k.Delivered)
	}
}

func TestOwnTypesAreChecked(t *testing.T) {
	good := herald.EventType{Name: "Invoice overdue", Message: "{number} is late", Company: true,
		Schema:  json.RawMessage(`{"type":"object","required":["number"],"properties":{"number":{"type":"string"},"due":{"type":"string","format":"date"}}}`),
		Example: json.RawMessage(`{"number":"A-1","due":"2026-11-23"}`)}
	if err := catalogue.Check(good); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*herald.EventType)
		member string
	}{
		"no name":            {func(e *herald.EventType) { e.Name = "" }, "name"},
		"a blank at the end": {func(e *herald.EventType) { e.Name = "x " }, "name"},
		"a control":          {func(e *herald.EventType) { e.Name = "a\nb" }, "name"},
		"open brace":         {func(e *herald.EventType) { e.Message = "{number" }, "message"},
		"empty brace":        {func(e *herald.EventType) { e.Message = "{}" }, "message"},
		"closing brace":      {func(e *herald.EventType) { e.Message = "a}" }, "message"},
		"no schema":          {func(e *herald.EventType) { e.Schema = json.RawMessage(`{"type":7}`) }, "schema"},
		"reaching out":       {func(e *herald.EventType) { e.Schema = json.RawMessage(`{"$ref":"https://example.com/s.json"}`) }, "schema"},
		"a wrong example":    {func(e *herald.EventType) { e.Example = json.RawMessage(`{"number":1}`) }, "example"},
		"a missing example":  {func(e *herald.EventType) { e.Example = nil }, "example"},
	} {
		spec := good
		test.change(&spec)
		if err := catalogue.Check(spec); member(err) != test.member {
			t.Errorf("%s: %v, want one about %s", name, err, test.member)
		}
	}
	taken := good
	taken.Name = "SYNC-failed"
	if err := catalogue.Check(taken); herald.CodeOf(err) != herald.CodeConflict {
		t.Errorf("a built-in spelling: %v, want a conflict", err)
	}
	c, err := catalogue.New([]herald.EventType{good}, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := c.Lookup("invoice  OVERDUE")
	if got := member(k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"number":"A-1","due":"tomorrow"}`))); got != "data.due" {
		t.Errorf("a wrong date: names %q, want data.due", got)
	}
}

// FuzzData: no published data causes a panic, and delivered data is JSON.
func FuzzData(f *testing.F) {
	f.Add(`{"dataType":"a","pushOperationGuid":"g","platformName":[{}]}`)
	f.Add(`{"a":{"b":"{c}"}}`)
	types := builtin(f).Types()
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") {
			return
		}
		for _, k := range types {
			e := event(k, text)
			_ = k.Validate(catalogue.NewBudget(t.Context()), e)
			if strings.Contains(k.Message(e), "\x00") {
				t.Errorf("%s: the message of %s holds a NUL", k.Name, text)
			}
			if data := k.Data(e.Data); data != nil && !json.Valid(data) {
				t.Errorf("%s: %s is delivered as %s", k.Name, text, data)
			}
		}
	})
}

// TestDataKeepsItsText: where a built-in type's data gets or loses a member, the other members
// stay byte for byte what the publisher sent.
func TestDataKeepsItsText(t *testing.T) {
	for name, test := range map[string][2]string{
		"Push Operation Timed Out": {
			`{"a<b>&":1e2,"\u00e9":"\u003c","pushOperationKey":"k"}`,
			`{"a<b>&":1e2,"\u00e9":"\u003c","pushOperationKey":"k","pushOperationGuid":"k"}`,
		},
		"DataConnectionStatusChanged": {
			`{"a<b>&":1e2,"platformName":"x", "\u00e9":"\u003c"}`,
			`{"a<b>&":1e2,"\u00e9":"\u003c"}`,
		},
	} {
		if got := kind(t, name).Data(json.RawMessage(test[0])); string(got) != test[1] {
			t.Errorf("%s: %s, want %s", name, got, test[1])
		}
	}
}
