package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"herald"
)

// TestRecoverSaysHowMany: the button counts what is left to recover, up to a bound, and goes when nothing is left.
func TestRecoverSaysHowMany(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	failed, delivered := f.deliveries[0], f.deliveries[0]
	delivered.State = herald.Delivered // otherwise the page is the checklist of the first event
	for _, test := range []struct {
		n    int
		want string
	}{{0, ""}, {1, "Recover this one…"}, {12, "Recover these 12…"}, {maxLost, "Recover these 100…"}, {maxLost + 1, "Recover more than 100…"}} {
		f.deliveries = []herald.Delivery{delivered}
		for i := range test.n {
			d := failed
			d.ID = herald.DeliveryID(herald.AlertID(herald.FirstIDAt(noon.Add(-time.Duration(i+1)*time.Minute)), 1), 0)
			f.deliveries = append(f.deliveries, d)
		}
		text := f.page(session, http.StatusOK, of(acme, ""))
		if test.want == "" && (strings.Contains(text, "/recover\"") || !strings.Contains(text, "None of them is left to recover.")) || !strings.Contains(text, test.want) {
			t.Errorf("with %d the overview does not say %q", test.n, test.want)
		}
	}
	f.deliveries, f.nextDelivery = []herald.Delivery{delivered}, herald.FirstIDAt(noon) // a search that came to no end, and found none so far
	has(t, f.page(session, http.StatusOK, of(acme, "")), ">Recover…</a>")
}
