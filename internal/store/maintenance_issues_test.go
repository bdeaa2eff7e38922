package store

import (
	"testing"
	"time"

	"herald"
)

// makeRule makes a rule of the fixture's client.
func (f *fixture) makeRule(r herald.Rule) herald.Rule {
	f.t.Helper()
	r.ID, r.ClientID = herald.NewID(), f.client.ID
	if r.Type == "" {
		r.Type = "Sync Failed"
	}
	r.PostedType = r.Type
	if err := f.CreateRule(f.t.Context(), operator, r); err != nil {
		f.t.Fatal(err)
	}
	return r
}

// endUnused makes a round of the maintenance task, and returns how many steps it took.
func (f *fixture) endUnused() (steps int) {
	f.t.Helper()
	for n := 1; n > 0; steps++ {
		var err error
		if n, err = f.EndUnusedIssues(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
	return steps
}

// TestIssueOfAnUnusedReceiverEnds: an issue ends when the last rule with its address is changed, deleted or
// cannot send any more, and nothing is pending to it.
func TestIssueOfAnUnusedReceiverEnds(t *testing.T) { onBoth(t, testIssueOfAnUnusedReceiverEnds) }

func testIssueOfAnUnusedReceiverEnds(t *testing.T, f *fixture) {
	f.exec(`DELETE FROM rules`)
	const mistyped, box = "https://mistyped.example/401", "Ann@acme.example"
	ctx := t.Context()
	for name, test := range map[string]struct {
		rule herald.Rule
		end  func(r herald.Rule) error
	}{
		"its rule gets another address": {herald.Rule{Webhook: mistyped}, func(r herald.Rule) error {
			r.Webhook = hook
			_, err := f.UpdateRule(ctx, operator, r)
			return err
		}},
		"its rule is deleted": {herald.Rule{Webhook: mistyped}, func(r herald.Rule) error {
			return f.DeleteRule(ctx, operator, f.client.ID, r.ID)
		}},
		"the mailbox leaves its rule": {herald.Rule{Webhook: hook, Emails: []string{"xAnn@acme.example, bob@acme.example", "bob@acme.example, " + box}}, func(r herald.Rule) error {
			r.Emails = r.Emails[:1]
			_, err := f.UpdateRule(ctx, operator, r)
			return err
		}},
		"the mailbox unsubscribes": {herald.Rule{Emails: []string{box}}, func(herald.Rule) error {
			return f.Unsubscribe(ctx, operator, f.client.ID, box)
		}},
	} {
		address := test.rule.Webhook
		if len(test.rule.Emails) > 0 {
			address = herald.MailScheme + box
		}
		r, other := f.makeRule(test.rule), f.makeRule(test.rule)
		f.record(failedForGood(f.due(address), herald.ReasonStatus, 401))
		f.endUnused()
		if got := f.issues(herald.IssueOpen); len(got) != 1 {
			t.Fatalf("%s: issues %+v before that, want one", name, got)
		}
		if err := f.DeleteRule(ctx, operator, f.client.ID, other.ID); err != nil {
			t.Fatal(err)
		}
		if got := f.issues(herald.IssueOpen); len(got) != 1 {
			t.Fatalf("%s: issues %+v while one of two rules has the address", name, got)
		}
		if err := test.end(r); err != nil {
			t.Fatal(err)
		}
		got := f.issues("")
		if len(got) == 0 || got[0].Receiver != address || got[0].State != herald.IssueEnded || !got[0].Unused || got[0].EndedAt.IsZero() || !got[0].RecoveryFilter.Until.Equal(got[0].EndedAt) {
			t.Fatalf("%s: issues %+v, want the newest ended as unused", name, got)
		}
		f.exec(`DELETE FROM rules`)
		f.exec(`DELETE FROM unsubscribed`)
	}
}

// TestUnusedReceiverIsOpenWhileSomethingIsPending: it ends with the last pending delivery, however that ends, and
// whoever holds it.
func TestUnusedReceiverIsOpenWhileSomethingIsPending(t *testing.T) {
	onBoth(t, testUnusedReceiverIsOpenWhileSomethingIsPending)
}

func testUnusedReceiverIsOpenWhileSomethingIsPending(t *testing.T, f *fixture) {
	f.exec(`DELETE FROM rules`)
	ctx := t.Context()
	open := func(want int, when string) {
		t.Helper()
		f.endUnused()
		if got := f.issues(herald.IssueOpen); len(got) != want {
			t.Fatalf("%s: open issues %+v, want %d", when, got, want)
		}
	}
	r := f.makeRule(herald.Rule{Webhook: hook})
	held, waits := f.due(hook), f.due(hook)
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 401), failedOnce(waits, herald.ReasonStatus, 503))
	open(1, "while its rule has it")
	if err := f.DeleteRule(ctx, operator, f.client.ID, r.ID); err != nil {
		t.Fatal(err)
	}
	open(1, "while two deliveries are pending")
	if err := f.CancelDelivery(ctx, operator, f.client.ID, waits.ID); err != nil {
		t.Fatal(err)
	}
	open(1, "while a node holds one")
	f.record(failedForGood(held, herald.ReasonStatus, 401))
	open(0, "after the last one has failed")

	r = f.makeRule(herald.Rule{Webhook: hook})
	last := f.due(hook)
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 401))
	if err := f.DeleteRule(ctx, operator, f.client.ID, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.CancelDelivery(ctx, operator, f.client.ID, last.ID); err != nil {
		t.Fatal(err)
	}
	if got := f.issues(herald.IssueOpen); len(got) != 0 {
		t.Errorf("open issues %+v after the last one was cancelled", got)
	}
	f.makeRule(herald.Rule{Webhook: hook})
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 401))
	open(1, "when the address is used again")
}

// TestUnusedReceiverHasNotRecovered: nobody is told so.
func TestUnusedReceiverHasNotRecovered(t *testing.T) { onBoth(t, testUnusedReceiverHasNotRecovered) }

func testUnusedReceiverHasNotRecovered(t *testing.T, f *fixture) {
	f.exec(`DELETE FROM rules`)
	ctx := t.Context()
	r := f.makeRule(herald.Rule{Webhook: hook})
	if err := f.SetNotifications(ctx, operator, f.client.ID, herald.Notifications{AfterDeliveries: 1, Webhooks: []string{"https://told.example/"}}); err != nil {
		t.Fatal(err)
	}
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 401))
	if n, err := f.MarkFailing(ctx); err != nil || n != 1 {
		t.Fatalf("%d marked, %v", n, err)
	}
	told := f.issues(herald.IssueOpen)[0].ID
	if err := f.Told(ctx, told, false); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteRule(ctx, operator, f.client.ID, r.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := f.ToTell(ctx, true); err != nil || len(got) != 0 || len(f.issues(herald.IssueOpen)) != 0 {
		t.Errorf("to be told as recovered: %+v, %v", got, err)
	}
}

// TestIssuesOfNotificationsEndWithTheirRules: a rule of another type does not keep them open.
func TestIssuesOfNotificationsEndWithTheirRules(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.makeRule(herald.Rule{Webhook: hook})
		if err := f.SetNotifications(ctx, operator, f.client.ID, herald.Notifications{AfterMinutes: 1, Webhooks: []string{hook}}); err != nil {
			t.Fatal(err)
		}
		p := f.prepare(f.client, true)
		p.Event.Type, p.Alerts[0].Items[0].Notification = herald.ReceiverFailing, true
		f.accept(p)
		f.record(failedForGood(p.Alerts[0].Items[0], herald.ReasonStatus, 500))
		if got := f.issues(herald.IssueOpen); len(got) != 1 || !got[0].Notification {
			t.Fatalf("issues %+v", got)
		}
		if err := f.StopNotifications(ctx, operator, f.client.ID); err != nil {
			t.Fatal(err)
		}
		if got := f.issues(herald.IssueOpen); len(got) != 0 {
			t.Errorf("issues %+v after the notifications were switched off", got)
		}
	})
}

// TestManyOpenIssuesAreLookedAtInSteps: a step reads a bounded number, and the next one goes on. Rules are read again only
// after a change.
func TestManyOpenIssuesAreLookedAtInSteps(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		f.makeRule(herald.Rule{Webhook: hook})
		for n := range 2*unusedStep + 1 {
			id := herald.NewID()
			address := hook
			if n%2 == 1 {
				address = "https://gone.example/"
			}
			f.exec(`INSERT INTO issues (id, client_id, receiver_key, receiver, notification, reason, began_at, last_at, attempts, failed, made_from, last_delivery, last_status)
VALUES ($1, $2, $3, $4, false, 'status', $5, $5, 2, 0, 0, $1, 500)`, id[:], f.client.ID[:], id[:], address, micros(time.Now()))
		}
		if steps := f.endUnused(); steps != 3 || len(f.issues(herald.IssueOpen)) != unusedStep+1 {
			t.Errorf("%d steps left %d open, want %d", steps, len(f.issues(herald.IssueOpen)), unusedStep+1)
		}
		f.exec(`DELETE FROM rules`) // without a change of the client's revision
		if f.endUnused(); len(f.issues(herald.IssueOpen)) != unusedStep+1 {
			t.Error("the rules were read again")
		}
	})
}
