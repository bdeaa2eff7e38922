package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// TestEventsAreFilteredAndCountTheirAlerts lists events of several types, companies and times, some of which met no
// rule. Each page is compared with the same selection in memory.
func TestEventsAreFilteredAndCountTheirAlerts(t *testing.T) {
	onBoth(t, testEventsAreFilteredAndCountTheirAlerts)
}

func testEventsAreFilteredAndCountTheirAlerts(t *testing.T, f *fixture) {
	f.searchLimit = 4 // so that a rare type takes several parts
	var all []work.PreparedEvent
	add := func(of herald.Client, kind string, company uuid.UUID, alerts int) {
		p := f.prepare(of, true)
		p.Event.Type, p.Event.CompanyID = kind, company
		one := p.Alerts[0]
		p.Alerts = nil
		for n := range alerts {
			a := one
			a.ID, a.Items = herald.AlertID(p.Event.ID, n+1), []work.Item{one.Items[0]}
			a.Items[0].ID = herald.DeliveryID(a.ID, 0)
			p.Alerts = append(p.Alerts, a)
		}
		f.accept(p)
		all = append(all, p)
	}
	mine, theirs := uuid.New(), uuid.New()
	add(f.client, "rare", mine, 0)
	for i := range 12 {
		add(f.client, "usual", []uuid.UUID{uuid.Nil, mine, theirs}[i%3], i%4)
	}
	add(f.client, "usual", mine, 300)
	add(f.newClient("Rival"), "rare", mine, 0)
	at := func(i int) time.Time { return herald.TimeOf(all[i].Event.ID) }
	for name, filter := range map[string]herald.EventFilter{
		"all": {}, "of a type": {Type: "usual"}, "of a rare type": {Type: "rare"}, "of a company": {Company: mine}, "of both": {Company: mine, Type: "usual"},
		"of none": {Type: "none"}, "since": {Since: at(5)}, "until": {Until: at(5)}, "between": {Since: at(3), Until: at(9), Company: mine},
		"without data": {WithoutData: true, Company: theirs},
	} {
		var want []uuid.UUID
		counts := make(map[uuid.UUID]int)
		for _, p := range slices.Backward(all) {
			e := p.Event
			if e.ClientID == f.client.ID && (filter.Type == "" || e.Type == filter.Type) && (filter.Company == uuid.Nil || e.CompanyID == filter.Company) &&
				!herald.TimeOf(e.ID).Before(filter.Since) && (filter.Until.IsZero() || herald.TimeOf(e.ID).Before(filter.Until)) {
				want = append(want, e.ID)
				counts[e.ID] = len(p.Alerts)
			}
		}
		var got []uuid.UUID
		filter.Limit = 3
		for pages := 0; ; pages++ {
			found, next, err := f.Events(t.Context(), f.client.ID, filter)
			if err != nil || pages > 20 {
				t.Fatalf("%s: page %d, %v", name, pages, err)
			}
			for _, e := range found {
				got = append(got, e.ID)
				if e.AlertCount != counts[e.ID] || (e.Data == nil) != filter.WithoutData {
					t.Errorf("%s: event with %d alerts and data %s, want %d alerts", name, e.AlertCount, e.Data, counts[e.ID])
				}
			}
			if filter.After = next; next == uuid.Nil && len(found) == filter.Limit {
				filter.After = found[2].ID
			}
			if filter.After == uuid.Nil {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestDeliveriesOfAnEvent lists the deliveries of one event, whatever its alert and however they were made.
func TestDeliveriesOfAnEvent(t *testing.T) { onBoth(t, testDeliveriesOfAnEvent) }

func testDeliveriesOfAnEvent(t *testing.T, f *fixture) {
	before, event, after := f.prepare(f.client, false), f.prepare(f.client, false), f.prepare(f.client, false)
	second := event.Alerts[0]
	second.ID = herald.AlertID(event.Event.ID, 2)
	second.Items = []work.Item{second.Items[0]}
	second.Items[0].ID = herald.DeliveryID(second.ID, 0)
	event.Alerts = append(event.Alerts, second)
	f.accept(before, event, after)
	want := []uuid.UUID{second.Items[0].ID, event.Alerts[0].Items[0].ID}
	for _, filter := range []herald.DeliveryFilter{{}, {State: new(herald.Pending)}, {Type: "Sync Failed"}} {
		filter.Event, filter.Limit = event.Event.ID, 10
		found, next, err := f.Deliveries(t.Context(), f.client.ID, filter)
		var got []uuid.UUID
		for _, d := range found {
			got = append(got, d.ID)
		}
		if err != nil || next != uuid.Nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v; next %v, %v", filter, got, want, next, err)
		}
	}
	if found, _, err := f.Deliveries(t.Context(), f.newClient("Rival").ID, herald.DeliveryFilter{Event: event.Event.ID, Limit: 10}); err != nil || len(found) > 0 {
		t.Errorf("another client has %d of them, %v", len(found), err)
	}
}
