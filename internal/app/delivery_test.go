package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

// TestEventReachesEveryRuleThatItMeets is check B11: there are rules for the company, for all
// companies and for another company.
func TestEventReachesEveryRuleThatItMeets(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	f.rule(hook.URL+"/one", company)
	f.rule(hook.URL+"/all", uuid.Nil)
	f.rule(hook.URL+"/other", uuid.New())
	receipt := f.publish(event())
	if receipt.AlertCount != 2 {
		t.Fatalf("%d alerts were raised, want 2", receipt.AlertCount)
	}
	eventually(t, "two webhooks arrive", func() bool { return len(hook.got()) == 2 })
	alerts := make(map[string]bool)
	for _, got := range hook.got() {
		var body struct{ AlertId, RuleType, ClientName, Message string } //nolint:revive // the vendor's names
		if err := json.Unmarshal(got.body, &body); err != nil {
			t.Fatal(err)
		}
		alerts[body.AlertId] = true
		if got.path == "/other" || body.RuleType != "Sync Failed" || body.ClientName != "Acme" {
			t.Errorf("got %s at %s", got.body, got.path)
		}
	}
	if len(alerts) != 2 {
		t.Errorf("the alert ids are %v, want two", alerts)
	}
}

// TestRequestIsTheVendors is check B12.
func TestRequestIsTheVendors(t *testing.T) {
	f := newFixture(t)
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://acme.example", AlertAuthHeader: "Basic dXNlcjpwYXNz"}); err != nil {
		t.Fatal(err)
	}
	hook := newReceiver(t, nil)
	f.rule(hook.URL+"/hook?a=b", uuid.Nil)
	d := f.ended(f.publish(event()))
	got := hook.got()[0]
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Authorization": "Basic dXNlcjpwYXNz",
		"X-Codat-ClientId": f.account.ID.String(), "User-Agent": "Herald/test",
	} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if got.method != http.MethodPost {
		t.Errorf("method %s, want POST", got.method)
	}
	if shown := d.Attempts[0].Request.Headers["Authorization"]; shown != "Basic …" {
		t.Errorf("the record shows the Authorization header as %q", shown)
	}
}

// TestTransientStatusesAreRetried is check B13, and TestOtherStatusesAreNot B14.
func TestTransientStatusesAreRetried(t *testing.T) {
	f := newFixture(t)
	for _, status := range []int{408, 420, 429, 460, 502, 503, 504, 522, 524} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			hook := newReceiver(t, statuses(status, status, status, status, status))
			rule := f.rule(hook.URL, uuid.Nil)
			d := f.ended(f.publish(event()))
			if d.State != herald.Failed || d.Reason != herald.ReasonExhausted || len(d.Attempts) != 4 {
				t.Errorf("the delivery is %s (%s) after %d attempts, want failed (exhausted) after 4", d.State, d.Reason, len(d.Attempts))
			}
			got := hook.got()
			if len(got) != 4 {
				t.Fatalf("%d requests, want 4", len(got))
			}
			sameBodies(t, got)
			if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOtherStatusesAreNotRetried(t *testing.T) {
	f := newFixture(t)
	for _, status := range []int{400, 401, 403, 404, 410, 500, 501, 505, 304} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			hook := newReceiver(t, statuses(status))
			rule := f.rule(hook.URL, uuid.Nil)
			d := f.ended(f.publish(event()))
			if d.State != herald.Failed || len(hook.got()) != 1 || d.Attempts[0].Status != status {
				t.Errorf("the delivery is %s after %d requests, want failed after 1", d.State, len(hook.got()))
			}
			if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRedirectIsFollowedOnce is check B15: the next event starts at the rule's address again.
func TestRedirectIsFollowedOnce(t *testing.T) {
	f := newFixture(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		end := newReceiver(t, nil)
		start := newReceiver(t, func(_ int, w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, end.URL+"/moved", status)
		})
		rule := f.rule(start.URL, uuid.Nil)
		for n := 1; n <= 2; n++ {
			if d := f.ended(f.publish(event())); d.State != herald.Delivered {
				t.Fatalf("%d: the delivery is %s", status, d.State)
			}
			if len(start.got()) != n || len(end.got()) != n {
				t.Fatalf("%d: %d requests at the start and %d at the end, want %d", status, len(start.got()), len(end.got()), n)
			}
			sameBodies(t, []received{start.got()[n-1], end.got()[n-1]})
		}
		if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetryAfterIsObeyed is checks B16 and B17.
func TestRetryAfterIsObeyed(t *testing.T) {
	f := newFixture(t)
	for name, header := range map[string]func() string{
		"seconds": func() string { return "2" },
		"date":    func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.Header().Set("Retry-After", header())
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			about := event()
			about.CompanyID = uuid.New()
			f.rule(hook.URL, about.CompanyID)
			f.publish(about)
			eventually(t, "the second request", func() bool { return len(hook.got()) == 2 })
			got := hook.got()
			// A date has whole seconds, so 3 s can be little more than 2.
			if waited := got[1].at.Sub(got[0].at); waited < 1900*time.Millisecond {
				t.Errorf("the second request came after %v", waited)
			}
		})
	}
}

func TestTransportFailureIsRecordedAndRetried(t *testing.T) {
	f := newFixture(t)
	f.rule(nobodyListens, uuid.Nil)
	d := f.ended(f.publish(event()))
	if d.Reason != herald.ReasonExhausted || len(d.Attempts) != 4 || d.Attempts[0].Reason != herald.ReasonConnectRefused {
		t.Errorf("the delivery ended as %s with %+v", d.Reason, d.Attempts)
	}
}

func TestAddressThatIsNotAllowedIsRefused(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.AllowTargets = nil })
	status, _, body := f.call("POST", "/rules", f.account.APIKey, `{"type":"Sync Failed","notifiers":{"webhook":"http://127.0.0.1:9/"}}`)
	if status != 400 || !strings.Contains(body, "notifiers.webhook") {
		t.Errorf("saving a loopback address: %d %s", status, body)
	}
	// A name that resolves to such an address passes the check of the rule, but not the check
	// before the connection.
	f.rule("http://ip6-loopback:9999/", uuid.Nil)
	d := f.ended(f.publish(event()))
	if d.State != herald.Failed || d.Attempts[0].Reason != herald.ReasonNotAllowed && d.Attempts[0].Reason != herald.ReasonDNS {
		t.Errorf("the delivery is %s: %+v", d.State, d.Attempts)
	}
}

// TestPendingDeliverySurvivesARestart: the program stops while a receiver is down and starts again
// when it is up.
func TestPendingDeliverySurvivesARestart(t *testing.T) {
	f := newFixture(t, func(c *app.Config) {
		c.RetrySchedule = []time.Duration{time.Second, time.Second, time.Second, time.Second}
	})
	hook := newReceiver(t, statuses(503))
	f.rule(hook.URL, uuid.Nil)
	receipt := f.publish(event())
	eventually(t, "the first attempt is recorded", func() bool {
		d, err := f.Delivery(t.Context(), herald.DeliveryID(receipt.AlertIDs[0], 0))
		return err == nil && len(d.Attempts) == 1
	})
	f.stop()
	f.start()
	d := f.ended(receipt)
	if d.State != herald.Delivered || len(d.Attempts) != 2 {
		t.Errorf("the delivery is %s after %d attempts, want delivered after 2", d.State, len(d.Attempts))
	}
	sameBodies(t, hook.got())
}

// TestStopLetsAttemptsEnd: an attempt that is in flight when the program stops is recorded with its
// own result.
func TestStopLetsAttemptsEnd(t *testing.T) {
	f := newFixture(t)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
	})
	f.rule(hook.URL, uuid.Nil)
	receipt := f.publish(event())
	<-arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.stop()
	}()
	close(goOn)
	<-stopped
	f.start()
	d := f.ended(receipt)
	if d.State != herald.Delivered || len(d.Attempts) != 1 || len(hook.got()) != 1 {
		t.Errorf("the delivery is %s after %d attempts and %d requests", d.State, len(d.Attempts), len(hook.got()))
	}
}

// TestStopInterruptsAttemptsOverTheBudget: an attempt that does not end within the budget is
// recorded as "may have been sent". It is made again without using up a retry.
func TestStopInterruptsAttemptsOverTheBudget(t *testing.T) {
	f := newFixture(t, func(c *app.Config) {
		c.StopBudget, c.RequestTimeout, c.RetrySchedule = 300*time.Millisecond, 20*time.Second, []time.Duration{}
	})
	arrived, end := make(chan struct{}, 8), make(chan struct{})
	hook := newReceiver(t, func(n int, w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		if n == 1 {
			select {
			case <-req.Context().Done():
			case <-end:
			}
		}
	})
	defer close(end)
	f.rule(hook.URL, uuid.Nil)
	receipt := f.publish(event())
	<-arrived
	f.stop()
	f.start()
	d := f.ended(receipt)
	if d.State != herald.Delivered || len(d.Attempts) != 2 || d.Attempts[0].Outcome != herald.OutcomeUnknown {
		t.Errorf("the delivery is %s with %+v", d.State, d.Attempts)
	}
	sameBodies(t, hook.got())
}

func TestAuthorizationFollowsTheProfile(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	rule := f.rule(hook.URL, uuid.Nil)
	save := func(header string) {
		t.Helper()
		if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: header}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		f.ended(f.publish(event()))
		all := hook.got()
		if got := all[len(all)-1].header.Get("Authorization"); got != want {
			t.Errorf("Authorization %q, want %q", got, want)
		}
	}
	expect("")
	save("Bearer one")
	expect("Bearer one")
	save("two") // no scheme is needed
	expect("two")
	if err := f.SetRuleAuthorization(t.Context(), rule.ID, false); err != nil {
		t.Fatal(err)
	}
	expect("")
	if err := f.SetRuleAuthorization(t.Context(), rule.ID, true); err != nil {
		t.Fatal(err)
	}
	expect("two")
	save("")
	expect("")
}

// TestRetryHasTheNewAuthorization: a retry has the present Authorization header, and none if the
// rule has another address now.
func TestRetryHasTheNewAuthorization(t *testing.T) {
	for _, moved := range []bool{false, true} {
		f := newFixture(t, func(c *app.Config) { c.RetrySchedule = []time.Duration{time.Second} })
		if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: "old"}); err != nil {
			t.Fatal(err)
		}
		hook := newReceiver(t, statuses(503))
		rule := f.rule(hook.URL, uuid.Nil)
		receipt := f.publish(event())
		eventually(t, "the first request", func() bool { return len(hook.got()) == 1 })
		if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: "new"}); err != nil {
			t.Fatal(err)
		}
		want := "new"
		if moved {
			want = ""
			rule.Notifiers.Webhook = "https://elsewhere.example/"
			if _, err := f.UpdateRule(t.Context(), rule); err != nil {
				t.Fatal(err)
			}
		}
		f.ended(receipt)
		got := hook.got()
		if len(got) != 2 || got[0].header.Get("Authorization") != "old" || got[1].header.Get("Authorization") != want {
			t.Errorf("moved %v: the retry had %q, want %q", moved, got[1].header.Get("Authorization"), want)
		}
	}
}

func TestCancelAndRedeliver(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.RetrySchedule = []time.Duration{time.Hour} })
	hook := newReceiver(t, statuses(503))
	rule := f.rule(hook.URL, uuid.Nil)
	receipt := f.publish(event())
	id := herald.DeliveryID(receipt.AlertIDs[0], 0)
	eventually(t, "the first attempt is recorded", func() bool {
		d, err := f.Delivery(t.Context(), id)
		return err == nil && len(d.Attempts) == 1
	})
	cancelled, err := f.Cancel(t.Context(), id)
	if err != nil || cancelled.State != herald.Cancelled {
		t.Fatalf("cancelled: %+v, %v", cancelled, err)
	}
	again, err := f.Redeliver(t.Context(), id)
	if err != nil || again.ID != herald.DeliveryID(receipt.AlertIDs[0], 1) {
		t.Fatalf("redelivery: %+v, %v", again, err)
	}
	eventually(t, "the redelivery arrives", func() bool { return len(hook.got()) == 2 })
	sameBodies(t, hook.got())
	if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, body := f.call("POST", "/deliveries/"+id.String()+"/redeliver", f.account.APIKey, ""); status != 409 || !strings.Contains(body, "deleted") {
		t.Errorf("redelivery without a rule: %d %s", status, body)
	}
}

// TestWhatAnOutageLostIsRecovered: what failed is counted exactly and sent again once, and what has
// been delivered since is left out.
func TestWhatAnOutageLostIsRecovered(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.RetrySchedule = []time.Duration{} })
	var up atomic.Bool
	hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	rule := f.rule(hook.URL+"/", uuid.Nil)
	gone := f.rule(hook.URL+"/gone", uuid.Nil)
	began := time.Now().Add(-time.Minute)
	for range 3 {
		f.publish(event())
	}
	count := func(state string) int {
		n := 0
		for _, err := range f.AllDeliveries(t.Context(), client.DeliveryFilter{State: state}) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	eventually(t, "all have failed", func() bool { return count("failed") == 6 })
	if err := f.DeleteRule(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	up.Store(true)
	var already client.Delivery
	for d, err := range f.AllDeliveries(t.Context(), client.DeliveryFilter{State: "failed", Receiver: hook.URL + "/"}) {
		if already = d; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Redeliver(t.Context(), already.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is delivered by hand", func() bool { return count("delivered") == 1 })

	lost := client.RecoverFilter{Since: began}
	for _, test := range []struct {
		name   string
		filter client.RecoverFilter
		want   herald.Recovery
	}{
		{"since", lost, herald.Recovery{Count: 2, Skipped: 3}},
		{"receiver", client.RecoverFilter{Receiver: rule.Notifiers.Webhook}, herald.Recovery{Count: 2}},
		{"reason", client.RecoverFilter{Reason: herald.ReasonStatus}, herald.Recovery{Count: 2, Skipped: 3}},
		{"another reason", client.RecoverFilter{Reason: herald.ReasonDNS}, herald.Recovery{}},
		{"until", client.RecoverFilter{Until: began}, herald.Recovery{}},
		{"company", client.RecoverFilter{Company: company, Receiver: hook.URL + "/"}, herald.Recovery{Count: 2}},
		{"another company", client.RecoverFilter{Company: uuid.New()}, herald.Recovery{}},
	} {
		if got, err := f.CountLost(t.Context(), test.filter); err != nil || got != test.want {
			t.Errorf("%s: counted %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
	if n := len(hook.got()); n != 7 {
		t.Fatalf("counting sent something: %d requests, want 7", n)
	}
	if got, err := f.Recover(t.Context(), lost); err != nil || got != (herald.Recovery{Count: 2, Skipped: 3}) {
		t.Errorf("recovered %+v, %v", got, err)
	}
	eventually(t, "all are delivered", func() bool { return count("delivered") == 3 })
	if got, err := f.Recover(t.Context(), lost); err != nil || got.Count != 0 {
		t.Errorf("a second time it made %+v, %v", got, err)
	}
	d, err := f.DeliveryWithBody(t.Context(), already.ID)
	if err != nil || d.RepeatedBy == uuid.Nil {
		t.Errorf("the first delivery is shown as %+v, %v", d, err)
	}
	if !slices.ContainsFunc(hook.got(), func(r received) bool { return string(r.body) == d.RequestBody }) {
		t.Errorf("the body %s is not one that was sent", d.RequestBody)
	}
}

// TestDeletedClientIsUnknown: neither its key nor its id works any more.
func TestDeletedClientIsUnknown(t *testing.T) {
	f := newFixture(t)
	if err := f.operator.DeleteClient(t.Context(), f.account.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := f.call("GET", "/rules", f.account.APIKey, ""); status != 401 {
		t.Errorf("a deleted client's key: %d, want 401", status)
	}
	if status, _, _ := f.call("GET", "/clients/"+f.account.ID.String(), operatorKey, ""); status != 404 {
		t.Errorf("the deleted client: %d, want 404", status)
	}
}
