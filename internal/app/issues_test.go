package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

// TestOwnerIsToldOnce: a receiver fails and recovers. Its client's webhook for that hears both, once, of
// all nodes together. Another one refuses what it gets, and that causes no notifications about itself.
func TestOwnerIsToldOnce(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp, func(c *app.Config) { c.PublicURL = "https://herald.example" })
		nodes := []*fixture{f}
		if f.config.Database != "" {
			nodes = append(nodes, f.secondNode())
		}
		var works atomic.Bool
		hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			if !works.Load() {
				w.WriteHeader(500)
			}
		})
		told := newReceiver(t, nil)
		refuses := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) })
		f.rule(hook.URL, uuid.Nil)
		set, err := f.SetNotifications(t.Context(), client.NotificationSettings{AfterDeliveries: 2, Webhooks: []string{told.URL, refuses.URL}})
		if err != nil || !set.On {
			t.Fatalf("%+v, %v", set, err)
		}
		for range 3 {
			for _, node := range nodes {
				node.ended(node.publish(event()))
			}
		}
		eventually(t, "the failure is told", func() bool { return len(told.got()) > 0 })
		works.Store(true)
		f.ended(f.publish(event()))
		eventually(t, "the recovery is told", func() bool { return len(told.got()) > 1 })
		eventually(t, "both are refused", func() bool { return len(refuses.got()) > 1 })
		eventually(t, "the refusal is an issue", func() bool {
			found, err := f.Issues(t.Context(), client.IssueFilter{State: herald.IssueOpen, Receiver: refuses.URL})
			return err == nil && len(found.Results) == 1 && found.Results[0].Notification && found.Results[0].Failed == 2
		})
		if a, b := len(told.got()), len(refuses.got()); a != 2 || b != 2 {
			t.Errorf("told %d and %d times, want 2", a, b)
		}
		for n, kind := range []string{herald.ReceiverFailing, herald.ReceiverRecovered} {
			var body struct {
				RuleType, Message string
				Data              struct {
					Receiver, Description, Link string
					FailedDeliveries            int
				}
			}
			if err := json.Unmarshal(told.got()[n].body, &body); err != nil {
				t.Fatal(err)
			}
			if body.RuleType != kind || body.Data.Receiver != hook.URL || body.Data.Description != "Your server answered 500." || body.Data.FailedDeliveries < 2 ||
				!strings.HasPrefix(body.Data.Link, "https://herald.example/portal/clients/"+f.account.ID.String()+"/deliveries?") || !strings.Contains(body.Message, hook.URL) {
				t.Errorf("told %s", told.got()[n].body)
			}
		}
	})
}

// TestIssuesAgreeWithHistory: an issue counts what the history has, and its filter selects what failed in
// it, also after a restart.
func TestIssuesAgreeWithHistory(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		var works atomic.Bool
		hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			if !works.Load() {
				w.WriteHeader(503)
			}
		})
		f.rule(hook.URL, uuid.Nil)
		const n = 5
		for range n {
			f.publish(event())
		}
		one := func() (issue herald.Issue) {
			t.Helper()
			found, err := f.Issues(t.Context(), client.IssueFilter{})
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Results) == 1 {
				issue = found.Results[0]
			}
			return issue
		}
		eventually(t, "all have failed", func() bool { return one().Failed == n })
		f.stop()
		f.start()
		issue, attempts := one(), 0
		for d, err := range f.AllDeliveries(t.Context(), client.DeliveryFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			attempts += d.AttemptCount
		}
		if issue.State != herald.IssueOpen || issue.Attempts != attempts || attempts != 4*n {
			t.Errorf("the issue %+v has %d attempts, and the history %d", issue, issue.Attempts, attempts)
		}
		works.Store(true)
		f.ended(f.publish(event()))
		issue = one()
		if issue.State != herald.IssueEnded {
			t.Errorf("the issue %+v has not ended", issue)
		}
		filter := client.RecoverFilter{Receiver: issue.RecoveryFilter.Receiver, Reason: issue.RecoveryFilter.Reason, Since: issue.RecoveryFilter.Since, Until: issue.RecoveryFilter.Until}
		if lost, err := f.CountLost(t.Context(), filter); err != nil || lost.Count != n {
			t.Errorf("its filter selects %+v, %v; want %d", lost, err, n)
		}
	})
}
