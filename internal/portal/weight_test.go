package portal

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// mostPage bounds the text of a page, in bytes, and mostAll a page with all assets: what a visitor's first page costs.
const mostPage, mostAll = 60_000, 150 << 10

// TestPagesStayLight: with as many rows as a page has, long addresses and long notes, which the page has once at most.
func TestPagesStayLight(t *testing.T) {
	f := newFixture(t)
	long := func(n int) string {
		return fmt.Sprintf("https://receiver-%d.example/webhooks/%s?tenant=%d", n, strings.Repeat("accounting/", 10), n)
	}
	delivery := f.deliveries[0]
	f.issues, f.deliveries, f.counts = nil, nil, nil
	for n := range maxIssues + 12 {
		f.issues = append(f.issues, herald.Issue{ID: uuid.New(), ClientID: acme, Receiver: long(n), Reason: herald.ReasonStatus, LastStatus: 503, State: herald.IssueOpen, Failed: 3, BeganAt: noon, LastDelivery: delivery.ID,
			RecoveryFilter: herald.RecoveryFilter{Receiver: long(n), Reason: herald.ReasonStatus, Since: noon}, Acknowledged: &herald.Acknowledgement{At: noon, Note: strings.Repeat("n", herald.MaxNote)}})
		f.counts = append(f.counts, herald.Statistics{Receiver: long(n), Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Failed: 3}}})
	}
	for n := range 2 * deliveryPage {
		d := delivery
		d.ID, d.Address, d.NextAttemptAt = herald.NewID(), long(n), noon.Add(time.Minute)
		if n%2 == 0 {
			d.State = herald.Pending
		}
		f.deliveries = append(f.deliveries, d)
	}
	assets := 0
	for name, file := range f.portal.assets.files {
		if !strings.HasSuffix(name, ".txt") {
			assets += len(file.plain)
		}
	}
	has(t, f.page(f.signedIn("operator"), http.StatusOK, of(acme, "")), "Each address by itself, and 12 more")
	for _, page := range []string{"", "/deliveries", "/events", "/rules", "/rules/new", "/deliveries/" + f.deliveries[0].ID.String()} {
		size := len(f.page(f.signedIn("operator"), http.StatusOK, of(acme, page)))
		if size > mostPage || page == "" && size < 20_000 {
			t.Errorf("%q has %d bytes, want %d at most", page, size, mostPage)
		}
		if size+assets > mostAll {
			t.Errorf("%q has %d bytes with all assets, want %d at most", page, size+assets, mostAll)
		}
	}
}
