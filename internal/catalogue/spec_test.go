package catalogue_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// TestMessagesWordByWord compares messages with spec sections 8.1 to 8.14.
func TestMessagesWordByWord(t *testing.T) {
	const company, customer = "8a210b68-6988-11ed-a1eb-0242ac120002", "86bd88cb-44ab-4dfb-b32f-87b19b14287f"
	berlin := time.FixedZone("CEST", 2*60*60) // messages are in UTC
	for name, test := range map[string]struct{ data, want string }{
		"DataConnectionStatusChanged": {`{"platformName":"Xero","platformKey":"gbol","oldStatus":"PendingAuth","newStatus":"Linked"}`,
			"Data connection for Xero status changed from PendingAuth to Linked"},
		"New company synchronised":          {``, "Company " + company + " synced for the first time"},
		"Data sync completed":               {`{"dataType":"creditNotes"}`, "Data sync of type creditNotes completed for company " + company},
		"Dataset data changed":              {`{"dataType":"bills"}`, "Data has changed for dataset type bills, company " + company},
		"Data Sync Status Changed To Error": {`{"dataType":"invoices","datasetStatus":"FetchError"}`, "ERROR: syncing invoices triggered a FetchError notification at 2023-05-03T09:56:17.4357111Z."},
		"Push Operation Status Changed()":   {`{"dataType":"invoices","status":"Success"}`, "invoices triggered notification for PushOperationStatusChanged at 2023-05-03T09:56:17.435Z"},
		"Push Operation Timed Out":          {`{"dataType":"invoices"}`, "ERROR: pushing invoices never finished in time, timing out at 2023-05-03T09:56:17"},
		"Account Categories Updated":        {``, "Account categories updated for company " + company + "."},
		"Sync Connection Deleted":           {``, "Sync connection for company " + company + " deleted"},
		"Sync Completed":                    {`{"syncId":"s-1","syncType":"Expense"}`, "Sync s-1 for company " + company + " of type Expense completed successfully."},
		"Sync Failed":                       {`{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"}`, "Sync s-1 for company " + company + " of type Expense has failed at step Pushing."},
		"Rate Limit Reached":                {`{"DailyQuota":12345678901}`, "The current daily rate limit quota of 12345678901 requests for " + customer + " has been reached."},
		"Rate Limit Reset":                  {`{"DailyQuota":1000}`, "The current daily rate limit quota for client " + customer + " has been reset to 1000 requests."},
		"Sync Started":                      {`{"syncId":"s-1","syncType":"Expense"}`, "Sync s-1 for company " + company + " of type Expense has started."},
		"herald.receiver.failing": {`{"receiver":"https://r.example","since":"2023-05-03T09:56:17Z","description":"Your server answered 503."}`,
			"Deliveries to https://r.example have been failing since 2023-05-03T09:56:17Z. Your server answered 503."},
		"herald.receiver.recovered": {`{"receiver":"https://r.example","since":"2023-05-03T09:56:17Z","recoveredAt":"2023-05-03T10:00:00Z","description":"Your server answered 503."}`,
			"Deliveries to https://r.example succeed again since 2023-05-03T10:00:00Z. They had been failing since 2023-05-03T09:56:17Z. Your server answered 503."},
	} {
		e := herald.Event{ClientID: uuid.MustParse(customer), CompanyID: uuid.MustParse(company), Data: json.RawMessage(test.data),
			OccurredAt: time.Date(2023, 5, 3, 11, 56, 17, 435711100, berlin)}
		if diff := cmp.Diff(test.want, kind(t, name).Message(e)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestTimestampsKeepTheirDigits: a whole second has the format's number of zeros.
func TestTimestampsKeepTheirDigits(t *testing.T) {
	for name, want := range map[string]string{
		"Data Sync Status Changed To Error": "2026-01-02T03:04:05.0000000Z.",
		"Push Operation Status Changed()":   "2026-01-02T03:04:05.000Z",
		"Push Operation Timed Out":          "2026-01-02T03:04:05",
	} {
		e := herald.Event{OccurredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		if got := kind(t, name).Message(e); !strings.HasSuffix(got, " at "+want) {
			t.Errorf("%s: %q does not end in %q", name, got, want)
		}
	}
}

// TestTypesAreThoseOfTheSpecification compares the types with the table of section 8.0.
func TestTypesAreThoseOfTheSpecification(t *testing.T) {
	type row struct {
		Name, Label         string
		Company, Connection bool
		Required            []string
	}
	want := []row{
		{"DataConnectionStatusChanged", "Company data connection status changed", true, true, []string{"dataConnectionId", "newStatus", "oldStatus", "platformKey"}},
		{"New company synchronised", "New company synchronized", true, true, nil},
		{"Data sync completed", "Data sync completed", true, true, []string{"dataType", "datasetId"}},
		{"Dataset data changed", "Dataset data changed", true, true, []string{"dataType", "datasetId"}},
		{"Data Sync Status Changed To Error", "Dataset status has changed to an error state", true, true, []string{"dataType", "datasetStatus", "datasetId"}},
		{"Push Operation Status Changed()", "Push operation status has changed", true, true, []string{"dataType", "status", "pushOperationKey"}},
		{"Push Operation Timed Out", "Push operation has timed out", true, true, []string{"dataType", "pushOperationKey"}},
		{"Account Categories Updated", "Account categories updated", true, true, []string{"modifiedDate"}},
		{"Sync Connection Deleted", "Sync Connection Deleted", true, false, nil},
		{"Sync Completed", "Expenses sync completed", true, false, []string{"syncId", "syncType"}},
		{"Sync Failed", "Expenses sync failed", true, false, []string{"syncId", "syncType", "FailureStage"}},
		{"Rate Limit Reached", "Client rate limit reached", false, false, []string{"DailyQuota", "ExpiresUtc"}},
		{"Rate Limit Reset", "Client rate limit reset", false, false, []string{"ResetReason"}},
		{"Sync Started", "Expense sync started", true, false, []string{"syncId", "syncType"}},
		// Herald's own, which the specification does not have.
		{"herald.receiver.failing", "Receiver is failing", false, false,
			[]string{"issueId", "receiver", "since", "failingAttempts", "failedDeliveries", "reason", "description"}},
		{"herald.receiver.recovered", "Receiver has recovered", false, false,
			[]string{"issueId", "receiver", "since", "recoveredAt", "failingAttempts", "failedDeliveries", "reason", "description"}},
	}
	var got []row
	for _, k := range builtin(t).Types() {
		got = append(got, row{k.Name, k.Label, k.Company, k.Connection, k.Required()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEachRequiredMemberIsMissed takes each type's valid example and breaks one required
// member at a time.
func TestEachRequiredMemberIsMissed(t *testing.T) {
	for _, k := range builtin(t).Types() {
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, string(k.Example))); err != nil {
			t.Errorf("%s: its own example: %v", k.Name, err)
		}
		for _, name := range k.Required() {
			for what, spoil := range map[string]func(map[string]any){
				"missing":      func(m map[string]any) { delete(m, name) },
				"null":         func(m map[string]any) { m[name] = nil },
				"empty":        func(m map[string]any) { m[name] = "" },
				"an object":    func(m map[string]any) { m[name] = map[string]any{} },
				"true":         func(m map[string]any) { m[name] = true },
				"another case": func(m map[string]any) { m["X"+name], m[strings.ToUpper(name)] = m[name], m[name]; delete(m, name) },
			} {
				var data map[string]any
				if err := json.Unmarshal(k.Example, &data); err != nil {
					t.Fatal(err)
				}
				spoil(data)
				if k.Name == "Push Operation Timed Out" && name == "pushOperationKey" {
					delete(data, "pushOperationGuid")
				}
				text, err := json.Marshal(data)
				if err != nil {
					t.Fatal(err)
				}
				err = k.Validate(catalogue.NewBudget(t.Context()), event(k, string(text)))
				if member(err) != "data."+name || !strings.Contains(err.Error(), name) {
					t.Errorf("%s, %s is %s: %v", k.Name, name, what, err)
				}
			}
		}
	}
}

func TestClosedListsTakeTheirValuesAlone(t *testing.T) {
	statuses := []string{"PendingAuth", "Linked", "Unlinked", "Deauthorized"}
	for _, test := range []struct {
		kind, member  string
		good, refused []string
	}{
		{"DataConnectionStatusChanged", "newStatus", statuses, []string{"linked", "Deleted"}},
		{"DataConnectionStatusChanged", "oldStatus", statuses, []string{"Linked ", "None"}},
		{"Data Sync Status Changed To Error", "datasetStatus", []string{"FetchError", "MapError", "InternalError", "ProcessingError", "ValidationError",
			"AuthError", "RateLimitError", "PermissionsError", "PrerequisiteNotMet"}, []string{"Initial", "Queued", "Fetching", "Complete", "Cancelled", "NotSupported"}},
		{"Push Operation Status Changed()", "status", []string{"Pending", "Failed", "Success", "TimedOut"}, []string{"Successful", "timedOut"}},
	} {
		k := kind(t, test.kind)
		check := func(value string) error {
			var data map[string]any
			if err := json.Unmarshal(k.Example, &data); err != nil {
				t.Fatal(err)
			}
			data[test.member] = value
			text, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			return k.Validate(catalogue.NewBudget(t.Context()), event(k, string(text)))
		}
		for _, value := range test.good {
			if err := check(value); err != nil {
				t.Errorf("%s, %s %s: %v", test.kind, test.member, value, err)
			}
		}
		for _, value := range test.refused {
			if err := check(value); member(err) != "data."+test.member || !strings.Contains(err.Error(), test.good[0]) {
				t.Errorf("%s, %s %s: %v, want an error that lists what is taken", test.kind, test.member, value, err)
			}
		}
	}
}

// TestRetiredTypesAreKnownAndNotListed: rules may have them, events may not.
func TestRetiredTypesAreKnownAndNotListed(t *testing.T) {
	c := builtin(t)
	for _, name := range []string{"CompanyStatusChanged", "CurrentAssetsCurrentLiabilitiesRatio(<,1.5)", "DebtorsOutstandingLoanOutstandingRatio(>, 20)"} {
		k, ok := c.Lookup(name)
		if !ok || !k.Retired || k.Name != name || k.Delivered != name {
			t.Errorf("%s: %+v", name, k)
			continue
		}
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{}`)); herald.CodeOf(err) != herald.CodeInvalid || member(err) != "type" {
			t.Errorf("an event of %s: %v", name, err)
		}
	}
	if k, ok := c.Lookup(" CurrentAssetsCurrentLiabilitiesRatio(<, \t1) "); !ok || k.Name != "CurrentAssetsCurrentLiabilitiesRatio(<, 1)" {
		t.Errorf("with blanks around and within it is %+v", k) // section 5.3: runs of blanks are collapsed
	}
	for _, name := range []string{"CurrentAssetsCurrentLiabilitiesRatio()", "CurrentAssetsCurrentLiabilitiesRatio(<,)", "CurrentAssetsCurrentLiabilitiesRatio(<,1",
		"CurrentAssetsCurrentLiabilitiesRatio(<,1)x", "CurrentAssetsCurrentLiabilitiesRatio(<," + strings.Repeat("1", 200) + ")"} {
		if _, ok := c.Lookup(name); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestDeliveredDataHoldsNoTraceOfWhatIsRemoved tests repeated and escaped names.
func TestDeliveredDataHoldsNoTraceOfWhatIsRemoved(t *testing.T) {
	for data, want := range map[string]string{
		`{"platformName":"a","x":1,"platformName":"b"}`: `{"x":1}`,
		`{"platformName":"a"}`:                          `{}`,
		`{"x":{"platformName":"kept"}}`:                 `{"x":{"platformName":"kept"}}`,
		`{"platform\u004eame":"a","x":1}`:               `{"x":1}`,
	} {
		if got := string(kind(t, "DataConnectionStatusChanged").Data(json.RawMessage(data))); got != want {
			t.Errorf("%s: delivered %s, want %s", data, got, want)
		}
	}
}

// TestEitherPushKeyIsTakenForBoth is decision A13.
func TestEitherPushKeyIsTakenForBoth(t *testing.T) {
	k := kind(t, "Push Operation Timed Out")
	for _, name := range []string{"pushOperationKey", "pushOperationGuid"} {
		data := `{"dataType":"bills","` + name + `":"54afd9ed"}`
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, data)); err != nil {
			t.Errorf("%s alone: %v", name, err)
		}
		var got map[string]string
		if err := json.Unmarshal(k.Data(json.RawMessage(data)), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"dataType": "bills", "pushOperationKey": "54afd9ed", "pushOperationGuid": "54afd9ed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s alone (-want +got):\n%s", name, diff)
		}
	}
	if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"dataType":"bills","pushOperationGuid":7}`)); member(err) == "" {
		t.Error("a number was taken for the key")
	}
	for _, wrong := range []string{`7`, `null`, `""`} { // both are delivered, so both are checked
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"dataType":"bills","pushOperationKey":"54afd9ed","pushOperationGuid":`+wrong+`}`)); member(err) != "data.pushOperationGuid" {
			t.Errorf("the older name with the value %s: %v", wrong, err)
		}
	}
	status := kind(t, "Push Operation Status Changed()")
	if err := status.Validate(catalogue.NewBudget(t.Context()), event(status, `{"dataType":"bills","status":"Failed","pushOperationGuid":"x"}`)); member(err) != "data.pushOperationKey" {
		t.Errorf("the older name in the other type: %v", err)
	}
}

func TestSpellingOfOneTypeChangesNoOther(t *testing.T) {
	american, err := catalogue.New(nil, catalogue.Options{AmericanSpelling: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range american.Types() {
		if k.Delivered != k.Name && k.Name != "New company synchronised" {
			t.Errorf("%s is delivered as %s", k.Name, k.Delivered)
		}
	}
	if k := kind(t, "New company synchronized"); k.Delivered != "New company synchronised" {
		t.Errorf("without the switch it is delivered as %s", k.Delivered)
	}
}
