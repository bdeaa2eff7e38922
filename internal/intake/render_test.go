package intake

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/work"
)

var update = flag.Bool("update", false, "write the golden files")

// members lists the members of each type's body (the table of spec section 8.0).
var members = map[string]struct {
	company, connection bool
	data                []string
}{
	"DataConnectionStatusChanged":       {true, true, []string{"dataConnectionId", "newStatus", "oldStatus", "platformKey"}},
	"New company synchronised":          {true, true, nil},
	"Data sync completed":               {true, true, []string{"dataType", "datasetId"}},
	"Dataset data changed":              {true, true, []string{"dataType", "datasetId"}},
	"Data Sync Status Changed To Error": {true, true, []string{"dataType", "datasetStatus", "datasetId"}},
	"Push Operation Status Changed()":   {true, true, []string{"dataType", "status", "pushOperationKey"}},
	"Push Operation Timed Out":          {true, true, []string{"dataType", "pushOperationKey", "pushOperationGuid"}},
	"Account Categories Updated":        {true, true, []string{"modifiedDate"}},
	"Sync Connection Deleted":           {true, false, nil},
	"Sync Completed":                    {true, false, []string{"syncId", "syncType"}},
	"Sync Failed":                       {true, false, []string{"syncId", "syncType", "FailureStage"}},
	"Rate Limit Reached":                {false, false, []string{"DailyQuota", "ExpiresUtc"}},
	"Rate Limit Reset":                  {false, false, []string{"QuotaRemaining", "ResetReason", "DailyQuota", "ExpiresUtc"}},
	"Sync Started":                      {true, false, []string{"syncId", "syncType"}},
	"herald.receiver.failing":           {false, false, []string{"issueId", "receiver", "since", "failingAttempts", "failedDeliveries", "reason", "description"}},
	"herald.receiver.recovered":         {false, false, []string{"issueId", "receiver", "since", "recoveredAt", "failingAttempts", "failedDeliveries", "reason", "description"}},
	"Invoice overdue":                   {true, true, []string{"number", "days"}},
}

var (
	clientID   = uuid.MustParse("f1c35bdc-1546-41b9-baf4-3f31135af968")
	companyID  = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")
	connection = uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd")
	ruleID     = uuid.MustParse("70af3071-65d9-4ec3-b3cb-5283e8d55dac")
	alertID    = uuid.MustParse("019ab0c1-2222-7333-8444-555555000100")
	occurredAt = time.Date(2023, 5, 3, 9, 56, 17, 435711100, time.UTC)
)

func withOwnType(t *testing.T) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.New([]herald.EventType{{
		Name: "Invoice overdue", Company: true, Message: "Invoice {number} of {companyId} is {days} days overdue",
		Example: json.RawMessage(`{"number":"A-17","days":30}`),
	}}, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// exampleOf returns an event with the example data of a type.
func exampleOf(kind *catalogue.Type) herald.Event {
	e := herald.Event{ClientID: clientID, Type: kind.Name, ConnectionID: connection, Data: kind.Example, OccurredAt: occurredAt}
	if kind.Company {
		e.CompanyID = companyID
	}
	return e
}

func bodyOf(clientName string, kind *catalogue.Type, e herald.Event) []byte {
	message := kind.Message(e)
	e.Data = kind.Data(e.Data)
	return wholeBody(renderHead(clientName, kind, e, work.PreparedAlert{ID: alertID, RuleID: ruleID, Message: message}), e.Data)
}

// wholeBody returns the body of an item on the wire.
func wholeBody(head, data []byte) []byte {
	item := work.Item{Head: head, Data: data}
	start, rest := item.Body()
	if rest == nil {
		return start
	}
	return append(append(slices.Clone(start), rest...), '}')
}

func TestBodiesAreTheVendors(t *testing.T) {
	types := withOwnType(t).Types()
	if len(types) != len(members) {
		t.Errorf("there are %d types, and %d in the table", len(types), len(members))
	}
	for _, kind := range types {
		t.Run(kind.Name, func(t *testing.T) {
			e := exampleOf(kind)
			if err := kind.Validate(catalogue.NewBudget(t.Context()), e); err != nil {
				t.Fatalf("the example is not valid: %v", err)
			}
			got := append(bodyOf("Acme & Söhne", kind, e), '\n')
			file := filepath.Join("testdata", "bodies", strings.Trim(strings.ToLower(strings.NewReplacer(" ", "-", "()", "").Replace(kind.Name)), "-")+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			checkMembers(t, kind.Name, got)
			checkMembers(t, kind.Name, ExampleBody("Acme & Söhne", kind, e))
		})
	}
}

func checkMembers(t *testing.T, name string, body []byte) {
	t.Helper()
	var got map[string]json.RawMessage
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := members[name]
	for member, present := range map[string]bool{
		"ClientId": true, "ClientName": true, "CompanyId": want.company, "DataConnectionId": want.connection, "RuleId": true,
		"RuleType": true, "AlertId": true, "Message": true, "Data": want.data != nil,
	} {
		if _, ok := got[member]; ok != present {
			t.Errorf("member %s is there: %v, want %v", member, ok, present)
		}
		delete(got, member)
	}
	if len(got) > 0 {
		t.Errorf("members that should not be there: %v", got)
	}
	var data struct{ Data map[string]json.RawMessage }
	if err := json.Unmarshal(body, &data); err != nil {
		t.Fatal(err)
	}
	for _, member := range want.data {
		if _, ok := data.Data[member]; !ok {
			t.Errorf("Data lacks %s", member)
		}
	}
	if len(data.Data) != len(want.data) {
		t.Errorf("Data has %d members, want %d", len(data.Data), len(want.data))
	}
}

func FuzzAnyTextIsCarried(f *testing.F) {
	f.Add("Acme", "plain")
	f.Add("\"\\\n\x00\u2028<&>", "\xff\xfe ü")
	c, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		f.Fatal(err)
	}
	kind, _ := c.Lookup("Sync Completed")
	f.Fuzz(func(t *testing.T, name, message string) {
		e := exampleOf(kind)
		body := wholeBody(renderHead(name, kind, e, work.PreparedAlert{ID: alertID, Message: message}), e.Data)
		var got struct{ ClientName, Message string }
		if err := json.Unmarshal(body, &got); err != nil || !utf8.Valid(body) {
			t.Fatalf("%q: %v", body, err)
		}
		if got.ClientName != valid(name) || got.Message != valid(message) {
			t.Errorf("%q, %q came back as %q, %q", name, message, got.ClientName, got.Message)
		}
	})
}

// valid replaces each byte that is not UTF-8 by U+FFFD, as encoding/json does.
func valid(s string) string { return string([]rune(s)) }

func BenchmarkBody(b *testing.B) {
	c, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	kind, _ := c.Lookup("Data sync completed")
	e := exampleOf(kind)
	for b.Loop() {
		bodyOf("Acme", kind, e)
	}
}
