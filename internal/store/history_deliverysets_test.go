package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// TestDeliveriesOfASetAreWhole lists deliveries by company and type, in every state, page by page, and
// compares them with those of the same alerts in the list of all: with the alerts in segments, late
// and open, also while too many are open, and where other tables than the index have fewer rows.
func TestDeliveriesOfASetAreWhole(t *testing.T) { onBoth(t, testDeliveriesOfASetAreWhole) }

func testDeliveriesOfASetAreWhole(t *testing.T, f *fixture) {
	r := newRaiser(f)
	f.segmentAlerts = 20
	r.raise(160, time.Minute, 36*time.Hour)
	r.deliver()
	f.tallyAll()
	f.indexAll()
	r.raise(60, 0, 36*time.Hour)
	r.deliver()
	_, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: r.events[3].Alerts[0].Items[0].ID, Origin: origin, Address: hook})
	if err != nil {
		t.Fatal(err)
	}
	at := r.now.Add(-30 * time.Hour).Truncate(time.Hour) // what is pending is listed whatever its age
	if _, err := f.write.ExecContext(t.Context(), `UPDATE history SET kept_from = $1, kept_hour = $2`, idBytes(herald.FirstIDAt(at)), micros(at)); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []struct{ open, set, search int }{{openLimit, setLimit, searchLimit}, {1, setLimit, 30}, {openLimit, -1, 30}, {1, -1, searchLimit}} {
		f.openLimit, f.setLimit, f.searchLimit = limits.open, limits.set, limits.search
		for _, state := range []herald.State{herald.Pending, herald.Delivered, herald.Failed, -1} {
			filter := herald.DeliveryFilter{State: &state, Limit: 1000}
			if state < 0 {
				filter.State = nil
			}
			all := r.walkDeliveries(filter)
			filter.Limit = 7
			for _, filter.Company = range []uuid.UUID{r.companies[1], r.companies[9], uuid.Nil, uuid.New()} {
				for _, filter.Type = range []string{"", r.types[0]} {
					want := slices.DeleteFunc(slices.Clone(all), func(d herald.Delivery) bool {
						return filter.Company != uuid.Nil && d.CompanyID != filter.Company || filter.Type != "" && d.Type != filter.Type
					})
					if diff := cmp.Diff(want, r.walkDeliveries(filter), cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("%+v, state %d of company %s and type %q (-want +got):\n%.1000s", limits, state, filter.Company, filter.Type, diff)
					}
				}
			}
			if len(all) < 20 {
				t.Errorf("%d deliveries in state %d: the test proves nothing", len(all), state)
			}
		}
	}
}

// TestDeliveriesAreListedByRuleAndByStatus compares both filters, in every state and page by page, with the list of all.
// The rules are not in the database: a deleted rule's deliveries are found.
func TestDeliveriesAreListedByRuleAndByStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		r := newRaiser(f)
		rules := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
		for n := range 48 {
			f.accept(f.prepareAt(r.now.Add(-time.Duration(n)*time.Minute), rules[n%len(rules)]))
		}
		var again uuid.UUID
		for n, item := range f.claim(1000) {
			if n%8 == 7 {
				continue // not tried yet
			}
			state := []herald.State{herald.Delivered, herald.Failed, herald.Pending}[n%3]
			if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeRetry, []int{401, 500, 503, 599, 200}[n%5]), State: state, Delay: time.Hour}); err != nil {
				t.Fatal(err)
			}
			if state == herald.Failed {
				again = item.ID
			}
		}
		if _, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: again, Origin: origin, Address: hook}); err != nil {
			t.Fatal(err)
		}
		for _, state := range []*herald.State{nil, new(herald.Pending), new(herald.Delivered), new(herald.Failed)} {
			all := r.walkDeliveries(herald.DeliveryFilter{State: state, Limit: 1000})
			check := func(filter herald.DeliveryFilter, match func(herald.Delivery) bool) {
				t.Helper()
				filter.State, filter.Limit = state, 7
				want := slices.DeleteFunc(slices.Clone(all), func(d herald.Delivery) bool { return !match(d) })
				if diff := cmp.Diff(want, r.walkDeliveries(filter), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%+v (-want +got):\n%.1000s", filter, diff)
				}
				if unknown := filter.Rule != uuid.Nil && !slices.Contains(rules, filter.Rule); !unknown && state == nil && (len(want) == 0 || len(want) == len(all)) {
					t.Errorf("%+v selects %d of %d: the test proves nothing", filter, len(want), len(all))
				}
			}
			for _, rule := range append(rules, uuid.New()) {
				check(herald.DeliveryFilter{Rule: rule}, func(d herald.Delivery) bool { return d.RuleID == rule })
			}
			for _, s := range []herald.Statuses{{From: 503, To: 503}, {From: 500, To: 599}, {From: 200, To: 299}} {
				check(herald.DeliveryFilter{Status: s}, func(d herald.Delivery) bool { return d.LastStatus >= s.From && d.LastStatus <= s.To })
				check(herald.DeliveryFilter{Status: s, Rule: rules[0]}, func(d herald.Delivery) bool {
					return d.LastStatus >= s.From && d.LastStatus <= s.To && d.RuleID == rules[0]
				})
			}
		}
	})
}

// deliver records the waiting deliveries as delivered, failed or to be made again in an hour.
func (r *raiser) deliver() {
	r.t.Helper()
	for n, item := range r.claim(1000) {
		state := []herald.State{herald.Delivered, herald.Failed, herald.Pending}[n%3]
		if err := r.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeRetry, 503), State: state, Delay: time.Hour}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// walkDeliveries lists all pages.
func (r *raiser) walkDeliveries(filter herald.DeliveryFilter) (all []herald.Delivery) {
	r.t.Helper()
	for range 1000 {
		page, next, err := r.Deliveries(r.t.Context(), r.client.ID, filter)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, page...)
		if next == uuid.Nil && len(page) == filter.Limit {
			next = page[len(page)-1].ID
		}
		if next == uuid.Nil {
			return all
		}
		filter.After = next
	}
	r.t.Fatal("the list does not end")
	return nil
}
