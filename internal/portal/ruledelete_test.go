package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
)

// addWaiting gives Acme's rule n more deliveries, which wait, and another rule one. The type of half of them is the one
// that the rule had before it was edited.
func (f *fixture) addWaiting(n int) {
	for i := range n {
		id := herald.DeliveryID(herald.AlertID(herald.FirstIDAt(noon.Add(-time.Duration(i+2)*time.Hour)), 1), 0)
		f.deliveries = append(f.deliveries, herald.Delivery{ID: id, ClientID: acme, AlertID: herald.AlertOf(id), EventID: herald.EventOf(id), RuleID: acme,
			Type: []string{"Sync Failed", "Sync Completed"}[i%2], Address: "https://x.example/", State: herald.Pending})
	}
	other := f.deliveries[len(f.deliveries)-1]
	other.ID, other.RuleID = herald.DeliveryID(other.ID, 1), rival
	f.deliveries = append(f.deliveries, other)
}

// waiting counts what waits of a rule.
func (f *fixture) waiting(rule uuid.UUID) (n int) {
	for _, d := range f.deliveries {
		if d.RuleID == rule && d.State == herald.Pending {
			n++
		}
	}
	return n
}

// TestAllThatWaitsOfARuleIsCancelledWithIt: however much it is, whatever the rule's type was, and nothing of another rule.
func TestAllThatWaitsOfARuleIsCancelledWithIt(t *testing.T) {
	f := newFixture(t)
	session, rule := f.signedIn("acme"), of(acme, "/rules/"+acme.String())
	f.addWaiting(230)
	ended := 0
	f.cancel = func(id uuid.UUID) error {
		if ended++; ended == 3 { // it has ended since the list was read
			i, _ := f.index(acme, id)
			f.deliveries[i].State = herald.Delivered
			return herald.Errorf(herald.CodeConflict, "The delivery has ended.")
		}
		return nil
	}
	has(t, f.page(session, http.StatusOK, rule+"/delete"), "230 deliveries of it wait and will still be sent.", "Cancel these 230 too", `href="`+of(acme, "/deliveries?state=pending&amp;rule="+acme.String())+`"`)
	w := f.request(session, http.MethodPost, rule+"/delete", url.Values{"cancel": {"yes"}})
	if want := of(acme, "/rules?notice=rule-deleted-cancelled"); w.Header().Get("Location") != want {
		t.Errorf("status %d to %q, want %q", w.Code, w.Header().Get("Location"), want)
	}
	if n := f.waiting(acme); n != 0 {
		t.Errorf("%d deliveries of the deleted rule still wait", n)
	}
	if f.waiting(rival) != 1 {
		t.Error("a delivery of another rule was cancelled")
	}
	f.page(session, http.StatusNotFound, rule+"/delete")
	if w := f.request(session, http.MethodPost, rule+"/delete", url.Values{"cancel": {"yes"}}); w.Code != http.StatusNotFound {
		t.Errorf("a second deletion: status %d", w.Code)
	}
}

// TestWhatIsLeftOfADeletedRuleIsSaid: when the time is over or the database is away, the page says what still waits, where
// it is, and cancels the rest.
func TestWhatIsLeftOfADeletedRuleIsSaid(t *testing.T) {
	for name, fail := range map[string]error{"slow": nil, "away": herald.Errorf(herald.CodeUnavailable, "The database is away.")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				session, rule := f.signedIn("acme"), of(acme, "/rules/"+acme.String())
				f.addWaiting(12)
				cancelled := 0
				f.cancel = func(uuid.UUID) error {
					if cancelled++; cancelled > 7 && fail != nil {
						return fail
					}
					time.Sleep(cancelTime / 10)
					return nil
				}
				w := f.request(session, http.MethodPost, rule+"/delete", url.Values{"cancel": {"yes"}})
				if want := rule + "/delete?notice=rule-deleted-partly"; w.Header().Get("Location") != want {
					t.Fatalf("status %d to %q, want %q", w.Code, w.Header().Get("Location"), want)
				}
				left := f.waiting(acme)
				if left == 0 || left == 12 {
					t.Fatalf("%d of 12 are left: the test proves nothing", left)
				}
				list := of(acme, "/deliveries?state=pending&amp;rule="+acme.String())
				has(t, f.page(session, http.StatusOK, rule+"/delete?notice=rule-deleted-partly"), "Not all that waited of it could be cancelled", "The rule is deleted",
					fmt.Sprintf("%d deliveries of it wait", left), fmt.Sprintf("Cancel these %d</button>", left), `href="`+list+`"`)
				has(t, f.page(session, http.StatusOK, strings.ReplaceAll(list, "&amp;", "&")), `value="`+acme.String()+`"`)
				f.cancel = nil
				w = f.request(session, http.MethodPost, rule+"/delete", url.Values{"cancel": {"yes"}})
				if want := of(acme, "/rules?notice=rule-deleted-cancelled"); w.Header().Get("Location") != want || f.waiting(acme) != 0 {
					t.Errorf("the rest: status %d to %q, %d wait", w.Code, w.Header().Get("Location"), f.waiting(acme))
				}
			})
		})
	}
}
