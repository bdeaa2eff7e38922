package portal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"herald"
)

// TestNextAttemptThatIsDueIsNow: on every page, whether it is being made or waits for its turn.
func TestNextAttemptThatIsDueIsNow(t *testing.T) {
	f := newFixture(t)
	d := &f.deliveries[0]
	d.State, d.InFlight, d.NextAttemptAt = herald.Pending, true, noon.Add(-4*time.Second)
	for _, at := range []string{"", "/deliveries", "/events/" + eventID(acme).String()} {
		if text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, at)); !strings.Contains(text, " data-next>now</time>") || strings.Contains(text, ">4 s ago</time>") {
			t.Errorf("%q does not say that the next attempt is made now", at)
		}
	}
}

// TestAddressesInListsShowTheirEnds: two that differ at the end only do not look alike, however long they are.
func TestAddressesInListsShowTheirEnds(t *testing.T) {
	long := "https://receiver.example/" + strings.Repeat("x", 200)
	for text, want := range map[string]addressView{
		"https://a.example/401": {Head: "https://a.example/401"}, "http://127.0.0.1:19001/hooks/401": {"http://127.0.0.1:190", "01/hooks/401"},
		long + "/tenant-1": {long[:51] + "…", "xxx/tenant-1"}, strings.Repeat("ü", 30): {strings.Repeat("ü", 18), strings.Repeat("ü", 12)},
	} {
		if got := addressOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
