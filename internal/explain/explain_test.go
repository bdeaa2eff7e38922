package explain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"herald"
)

func TestHeaderChangesAreThoseOfTheHeader(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 3, 9, minute, 0, 0, time.UTC) }
	entry := func(minute int, action herald.Action, before, after string) herald.Change {
		return herald.Change{At: at(minute), Action: action, Before: []byte(before), After: []byte(after)}
	}
	renamed := entry(9, herald.ProfileUpdated, `{"name":"a","alertAuthHeader":"Bearer …"}`, `{"name":"b","alertAuthHeader":"Bearer …"}`)
	for name, test := range map[string]struct {
		changes []herald.Change
		want    []time.Time
	}{
		"nothing":                 {nil, nil},
		"only a name":             {[]herald.Change{renamed}, nil},
		"another kind":            {[]herald.Change{entry(8, herald.RuleCreated, "", `{}`)}, nil},
		"another value":           {[]herald.Change{renamed, entry(7, herald.ProfileUpdated, `{"alertAuthHeader":"Bearer …"}`, `{"alertAuthHeader":"Bearer … (changed)"}`)}, []time.Time{at(7)}},
		"set":                     {[]herald.Change{entry(6, herald.ProfileUpdated, `{}`, `{"alertAuthHeader":"Basic … (changed)"}`)}, []time.Time{at(6)}},
		"removed, and set before": {[]herald.Change{entry(5, herald.ProfileUpdated, `{"alertAuthHeader":"Bearer …"}`, `{}`), entry(4, herald.ProfileUpdated, `{}`, `{"alertAuthHeader":"x (changed)"}`)}, []time.Time{at(5), at(4)}},
		"what cannot be read":     {[]herald.Change{entry(3, herald.ProfileUpdated, `x`, `y`)}, nil},
	} {
		if got := HeaderChanges(test.changes); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestPastSaysTheLastSuccessAndWhenTheHeaderWasChanged: only what can explain the failure is said.
func TestPastSaysTheLastSuccessAndWhenTheHeaderWasChanged(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 3, 14, minute, 0, 0, time.UTC) }
	clock := func(t time.Time) string { return t.Format("15:04") }
	refused := herald.Attempt{N: 1, At: at(5), Status: 401, Reason: herald.ReasonStatus, Timings: herald.Timings{Total: 84},
		Request: &herald.RequestRecord{Method: "POST", Headers: map[string]string{"Authorization": "Bearer …"}}}
	broken := herald.Attempt{N: 1, At: at(5), Status: 500, Reason: herald.ReasonStatus}
	d := herald.Delivery{State: herald.Failed, Reason: herald.ReasonStatus, Address: "https://a.example/"}
	if got, want := Cause(d, []herald.Attempt{refused}), "Your server answered 401 in 84 ms. 401 is not retried. The Authorization header was sent (Bearer …)."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, test := range []struct {
		attempt herald.Attempt
		past    Past
		want    string
	}{
		{refused, Past{true, at(2), []time.Time{at(3)}, nil}, "The last success was at 14:02; the header was changed at 14:03."},
		{refused, Past{true, at(2), []time.Time{at(4), at(3), at(1)}, nil}, "The last success was at 14:02; the header was changed at 14:04."},
		{refused, Past{true, at(2), []time.Time{at(1)}, nil}, "The last success was at 14:02."},
		{refused, Past{true, at(2), []time.Time{at(9), at(3)}, nil}, "The last success was at 14:02; the header was changed at 14:03. The header was changed after this attempt, at 14:09."},
		{refused, Past{true, time.Time{}, []time.Time{at(3)}, nil}, "Nothing was ever delivered to this receiver."},
		{refused, Past{true, at(7), []time.Time{at(6)}, nil}, "A later delivery reached this receiver at 14:07. The header was changed after this attempt, at 14:06."},
		{refused, Past{false, time.Time{}, []time.Time{at(3)}, nil}, ""},
		{broken, Past{true, at(2), []time.Time{at(3), at(9)}, nil}, "The last success was at 14:02."},
	} {
		if got := Sentence(test.past.Parts(d, []herald.Attempt{test.attempt}), clock); got != test.want {
			t.Errorf("%d, %+v: %q, want %q", test.attempt.Status, test.past, got, test.want)
		}
	}
	if got := (Past{Searched: true}).Parts(herald.Delivery{State: herald.Delivered}, []herald.Attempt{broken}); got != nil {
		t.Errorf("of a delivery that arrived: %v", got)
	}
}

// TestNoHeaderIsExplainedByTheRule: only a header that was set or allowed since is explained by a change.
func TestNoHeaderIsExplainedByTheRule(t *testing.T) {
	d := herald.Delivery{Address: "https://a.example/"}
	same := herald.Rule{Webhook: d.Address}
	without, moved := same, same
	without.WithoutAuthorization, moved.Webhook = true, "https://b.example/"
	for _, test := range []struct {
		header bool
		rule   *herald.Rule
		want   string
		byRule bool
	}{
		{false, &without, "has no Authorization header", false},
		{true, nil, "a rule that is deleted", true},
		{true, &without, "the rule leaves it out", true},
		{true, &moved, "another address", true},
		{true, &same, "changed after the attempt", false},
	} {
		if said, byRule := NoAuthorization(d, test.header, test.rule); !strings.Contains(said, test.want) || byRule != test.byRule {
			t.Errorf("header %v, rule %+v: %q, %v; want %q, %v", test.header, test.rule, said, byRule, test.want, test.byRule)
		}
	}
}
