package herald_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

func TestIDsOfOneEventShareOneRange(t *testing.T) {
	event := herald.NewEventID()
	alert := herald.AlertID(event, 700)
	delivery := herald.DeliveryID(alert, 3)
	if got := herald.AlertOf(delivery); got != alert {
		t.Errorf("AlertOf(%v) = %v, want %v", delivery, got, alert)
	}
	if got := herald.EventOf(delivery); got != event {
		t.Errorf("EventOf(%v) = %v, want %v", delivery, got, event)
	}
	if alert == herald.AlertID(event, 701) {
		t.Error("two alerts of one event have the same id")
	}
	if next := herald.NewEventID(); next.String() <= herald.AlertID(event, herald.MaxAlerts).String() {
		t.Errorf("the next event's id %v lies within the range of %v", next, event)
	}
}

func TestIDsTellTheirTime(t *testing.T) {
	before := time.Now().Truncate(time.Microsecond)
	id := herald.NewID()
	after := time.Now()
	// An id's fraction of a millisecond counts in steps of 256 ns.
	if at := herald.TimeOf(id); at.Before(before.Add(-time.Microsecond)) || at.After(after) {
		t.Errorf("TimeOf(%v) = %v, made between %v and %v", id, at, before, after)
	}
}

func TestFirstIDAtIsBeforeWhatIsMadeThen(t *testing.T) {
	at := time.Now()
	id := herald.NewID()
	if first := herald.FirstIDAt(at.Add(-2 * time.Microsecond)); first.String() > id.String() {
		t.Errorf("FirstIDAt(%v) = %v lies behind %v", at, first, id)
	}
	if late := herald.FirstIDAt(at.Add(time.Second)); late.String() < id.String() {
		t.Errorf("FirstIDAt a second later = %v lies before %v", late, id)
	}
}

func TestRuleMeets(t *testing.T) {
	client, company := uuid.New(), uuid.New()
	rule := herald.Rule{ClientID: client, Type: "Sync Failed", CompanyID: company}
	forAll := herald.Rule{ClientID: client, Type: "Sync Failed"}
	for _, test := range []struct {
		name  string
		rule  herald.Rule
		event herald.Event
		want  bool
	}{
		{"same company", rule, herald.Event{ClientID: client, Type: "Sync Failed", CompanyID: company}, true},
		{"other company", rule, herald.Event{ClientID: client, Type: "Sync Failed", CompanyID: uuid.New()}, false},
		{"all companies", forAll, herald.Event{ClientID: client, Type: "Sync Failed", CompanyID: company}, true},
		{"client-wide event", rule, herald.Event{ClientID: client, Type: "Sync Failed"}, true},
		{"other type", forAll, herald.Event{ClientID: client, Type: "Sync Completed"}, false},
		{"other client", forAll, herald.Event{ClientID: uuid.New(), Type: "Sync Failed"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.rule.Meets(test.event); got != test.want {
				t.Errorf("Meets = %v, want %v", got, test.want)
			}
		})
	}
}
