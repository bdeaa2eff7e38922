package herald_test

import (
	"bytes"
	"encoding/json"
	"math"
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

// TestIDsFollowTheirClock: ids rise strictly while the clock stands still or runs back a little,
// and come back when a jump of the clock is over.
func TestIDsFollowTheirClock(t *testing.T) {
	now := time.Date(2026, 5, 3, 9, 56, 17, 123456000, time.UTC)
	right := now
	ids := herald.NewIDs(func() time.Time { return now })
	last := ids.New()
	rise := func(what string) {
		t.Helper()
		for range 10_000 { // more than there are steps in a millisecond
			id := ids.New()
			if bytes.Compare(id[:8], last[:8]) <= 0 {
				t.Fatalf("%s: %v follows %v", what, id, last)
			}
			last = id
		}
		if off := herald.TimeOf(last).Sub(now); off > time.Second {
			t.Errorf("%s: the id is %v ahead of the clock", what, off)
		}
		if last.Version() != 7 || last.Variant() != uuid.RFC4122 {
			t.Errorf("%v is no UUIDv7", last)
		}
	}
	rise("standing still")
	now = now.Add(-time.Second / 2)
	rise("a little back")
	for _, jump := range []time.Duration{time.Hour, 24 * time.Hour, 365 * 24 * time.Hour} {
		now = right.Add(jump)
		rise("ahead")
		now = right.Add(time.Minute)
		if at := herald.TimeOf(ids.New()); at.Sub(now).Abs() > time.Millisecond {
			t.Errorf("after a jump of %v that is over, ids show %v at %v", jump, at, now)
		}
		last = ids.New()
		rise("back")
		ids = herald.NewIDs(func() time.Time { return now })
		last = uuid.Nil
	}
}

func TestTimesStayWithinFourDigits(t *testing.T) {
	for _, at := range []time.Time{herald.TimeOf(uuid.Max), herald.Clamp(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		herald.Clamp(time.Date(-3, 1, 1, 0, 0, 0, 0, time.UTC)), herald.Clamp(time.UnixMicro(math.MaxInt64)), herald.Clamp(time.UnixMicro(math.MinInt64))} {
		if _, err := json.Marshal(at); err != nil || at.Year() < 1 {
			t.Errorf("%v: %v", at, err)
		}
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

// TestIDsOfTestsAreTold: with the same time and the same relations as other ids.
func TestIDsOfTestsAreTold(t *testing.T) {
	at := time.Date(2026, 5, 3, 9, 0, 0, 123456000, time.UTC)
	ids := herald.NewIDs(func() time.Time { return at })
	usual, test := ids.NewEvent(), ids.NewTest()
	if herald.IsTest(usual) || herald.IsTest(herald.DeliveryID(herald.AlertID(usual, 7), 255)) || herald.IsTest(uuid.Nil) {
		t.Errorf("%s looks like a test", usual)
	}
	delivery := herald.DeliveryID(herald.AlertID(test, 7), 255)
	if !herald.IsTest(test) || !herald.IsTest(delivery) || herald.EventOf(delivery) != test || test.Version() != 8 || test.Variant() != uuid.RFC4122 {
		t.Errorf("%s and its delivery %s", test, delivery)
	}
	if got := herald.TimeOf(test).Sub(at).Abs(); got > time.Microsecond {
		t.Errorf("the time of %s is %v off", test, got)
	}
}
