package store

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
)

func TestEventTypeInUseIsNotDeleted(t *testing.T) { onBoth(t, testEventTypeInUseIsNotDeleted) }

func testEventTypeInUseIsNotDeleted(t *testing.T, f *fixture) {
	const name = "Invoice paid"
	wantCode(t, f.DeleteEventType(t.Context(), operator, name), herald.CodeNotFound)
	if err := f.SaveEventType(t.Context(), operator, herald.EventType{Name: name}); err != nil {
		t.Fatal(err)
	}
	var rules []herald.Rule
	for _, c := range []herald.Client{f.client, f.client, f.newClient("Other"), f.newClient("Gone")} {
		r := herald.Rule{ID: herald.NewID(), ClientID: c.ID, Type: name, PostedType: "INVOICE paid", Webhook: hook}
		if err := f.CreateRule(t.Context(), operator, r); err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	if err := f.DeleteClient(t.Context(), operator, rules[3].ClientID); err != nil {
		t.Fatal(err)
	}
	err := f.DeleteEventType(t.Context(), operator, name)
	wantCode(t, err, herald.CodeConflict)
	if !strings.Contains(err.Error(), "3 rules of 2 clients") {
		t.Errorf("refused with %q, want how many rules and clients use it", err)
	}
	for _, r := range rules[:3] {
		if err := f.DeleteRule(t.Context(), operator, r.ClientID, r.ID); err != nil {
			t.Fatal(err)
		}
	}
	before, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteEventType(t.Context(), operator, name); err != nil {
		t.Fatal(err)
	}
	if after, err := f.Version(t.Context(), f.client.ID); err != nil || after <= before {
		t.Errorf("the client's version is %d after %d, %v: events prepared with the type could be committed", after, before, err)
	}
	if types, err := f.EventTypes(t.Context()); err != nil || len(types) != 0 {
		t.Errorf("there are still %v, %v", types, err)
	}
	changes, _, err := f.Changes(t.Context(), uuid.Nil, herald.ChangeFilter{Limit: 1})
	if err != nil || len(changes) != 1 || changes[0].Action != herald.EventTypeDeleted || changes[0].Subject != name {
		t.Errorf("the audit log begins with %+v, %v", changes, err)
	}
}
