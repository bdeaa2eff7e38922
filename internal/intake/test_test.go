package intake_test

import (
	"testing"

	"github.com/google/uuid"

	"herald"
)

// TestWhoMayTestARule: also a person who came into the portal by a link, and so has no key.
func TestWhoMayTestARule(t *testing.T) {
	in, f := newIntake(t, herald.Rule{Webhook: "https://r.example/"}, herald.Rule{Webhook: "https://r.example/"})
	client, key := f.state.Client.ID, uuid.New()
	f.state.KeyIDs = []uuid.UUID{key}
	for name, test := range map[string]struct {
		caller herald.Caller
		code   herald.Code
	}{
		"the operator":          {herald.Caller{Operator: true}, ""},
		"a key":                 {herald.Caller{Key: herald.Key{ID: key, ClientID: client}}, ""},
		"a portal link":         {herald.Caller{Key: herald.Key{ClientID: client, Role: herald.Developer}}, ""},
		"a revoked key":         {herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: client}}, herald.CodeUnauthorized},
		"another client's key":  {herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: uuid.New()}}, herald.CodeForbidden},
		"another's portal link": {herald.Caller{Key: herald.Key{ClientID: uuid.New()}}, herald.CodeForbidden},
		"a reader of a mail":    {herald.Caller{}, herald.CodeForbidden},
	} {
		rule := f.state.Rules[1].ID
		receipts, err := in.Publish(t.Context(), test.caller, []herald.Publication{{TestOf: rule, Event: herald.Event{ClientID: client}}})
		if test.code != "" {
			if herald.CodeOf(err) != test.code {
				t.Errorf("%s: %v, want %s", name, err, test.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		last := f.accepted[len(f.accepted)-1]
		if len(last.Alerts) != 1 || last.Alerts[0].RuleID != rule || !herald.IsTest(receipts[0].EventID) {
			t.Errorf("%s: %+v", name, last)
		}
	}
}
