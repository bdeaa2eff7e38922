package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/internal/test/postgres"
)

// notify sets the notifications of the fixture's client.
func (f *fixture) notify(n herald.Notifications) {
	f.t.Helper()
	n.On = true
	if err := f.SetNotifications(f.t.Context(), operator, f.client.ID, n); err != nil {
		f.t.Fatal(err)
	}
}

// toTell returns the receivers of the issues that are to be told, after marking what is due.
func (f *fixture) toTell(recovered bool) (receivers []string) {
	f.t.Helper()
	if _, err := f.MarkFailing(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	issues, err := f.ToTell(f.t.Context(), recovered)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, i := range issues {
		receivers = append(receivers, i.Receiver)
	}
	return receivers
}

// tell notes that all that is due was told.
func (f *fixture) tell(recovered bool) (n int) {
	f.t.Helper()
	f.toTell(recovered)
	issues, err := f.ToTell(f.t.Context(), recovered)
	for _, i := range issues {
		if err == nil {
			err = f.Told(f.t.Context(), i.ID, recovered)
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return len(issues)
}

var byDeliveries = herald.Notifications{AfterDeliveries: 2, Mailboxes: []string{"ann@acme.test"}}

// TestNotificationsAreRules: the addresses are rules of Herald's own types; one that is right keeps its id.
func TestNotificationsAreRules(t *testing.T) { onBoth(t, testNotificationsAreRules) }

func testNotificationsAreRules(t *testing.T, f *fixture) {
	rules := func() (ids []string, version int64) {
		t.Helper()
		all, err := list(t.Context(), f.read, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1`, f.client.ID[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if herald.IsNotification(r.Type) {
				ids = append(ids, r.ID.String())
			}
		}
		version, err = f.Version(t.Context(), f.client.ID)
		if err != nil {
			t.Fatal(err)
		}
		return ids, version
	}
	_, before := rules()
	f.notify(herald.Notifications{AfterMinutes: 10, Mailboxes: []string{"ann@acme.test", "bob@acme.test"}, Webhooks: []string{"https://a.example/", "https://b.example/"}})
	first, after := rules()
	if len(first) != 6 || after == before {
		t.Errorf("%d rules at version %d, which was %d before", len(first), after, before)
	}
	f.notify(herald.Notifications{AfterDeliveries: 5, Mailboxes: []string{"ann@acme.test", "bob@acme.test"}, Webhooks: []string{"https://b.example/", "https://c.example/"}})
	second, _ := rules()
	kept := slices.DeleteFunc(slices.Clone(second), func(id string) bool { return !slices.Contains(first, id) })
	if len(second) != 6 || len(kept) != 4 {
		t.Errorf("%d rules, of which %d are kept", len(second), len(kept))
	}
	got, err := f.Notifications(t.Context(), f.client.ID)
	slices.Sort(got.Webhooks)
	want := herald.Notifications{On: true, AfterDeliveries: 5, Mailboxes: []string{"ann@acme.test", "bob@acme.test"}, Webhooks: []string{"https://b.example/", "https://c.example/"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("notifications (-want +got), %v:\n%s", err, diff)
	}
	if got, err := f.Notifications(t.Context(), f.newClient("Other").ID); err != nil || got.On {
		t.Errorf("another client's: %+v, %v", got, err)
	}
	for range 2 {
		if err := f.StopNotifications(t.Context(), operator, f.client.ID); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := rules(); len(left) != 0 {
		t.Errorf("rules are left: %v", left)
	}
	wantCode(t, f.SetNotifications(t.Context(), operator, herald.NewID(), want), herald.CodeNotFound)
}

// TestFailingReceiverIsToldOnce: by number or by time, and its recovery once.
func TestFailingReceiverIsToldOnce(t *testing.T) { onBoth(t, testFailingReceiverIsToldOnce) }

func testFailingReceiverIsToldOnce(t *testing.T, f *fixture) {
	fail := func(reason herald.Reason) { f.record(failedForGood(f.due(hook), reason, 500)) }
	fail(herald.ReasonStatus)
	fail(herald.ReasonStatus)
	if got := f.toTell(false); got != nil {
		t.Fatalf("told of %v without being asked to", got)
	}
	f.record(reached(f.due(hook)))
	f.notify(byDeliveries)
	fail(herald.ReasonStatus)
	if got := f.toTell(false); got != nil {
		t.Errorf("told of %v after one delivery", got)
	}
	fail(herald.ReasonTimeout) // of whatever reason
	if got := f.toTell(false); !slices.Equal(got, []string{hook}) {
		t.Fatalf("to tell: %v, want the receiver once", got)
	}
	if n := f.tell(false); n != 1 {
		t.Errorf("told %d times", n)
	}
	fail(herald.ReasonStatus)
	fail(herald.ReasonDNS)
	if n := f.tell(false) + f.tell(true); n != 0 {
		t.Errorf("told %d times more while it goes on", n)
	}
	f.record(reached(f.due(hook)))
	if got := f.toTell(true); !slices.Equal(got, []string{hook}) {
		t.Errorf("to tell of the recovery: %v", got)
	}
	if n := f.tell(true); n != 1 {
		t.Errorf("told of the recovery %d times", n)
	}
	if n := f.tell(true) + f.tell(false); n != 0 {
		t.Errorf("told %d times more", n)
	}
	fail(herald.ReasonStatus)
	f.record(reached(f.due(hook))) // too short to be told
	if n := f.tell(false) + f.tell(true); n != 0 {
		t.Errorf("told %d times of what was short", n)
	}
}

// TestFailingForMinutesIsTold: by the clock of the database, though no delivery comes meanwhile.
func TestFailingForMinutesIsTold(t *testing.T) { onBoth(t, testFailingForMinutesIsTold) }

func testFailingForMinutesIsTold(t *testing.T, f *fixture) {
	f.notify(herald.Notifications{AfterMinutes: 10, Webhooks: []string{"https://a.example/"}})
	f.record(failedOnce(f.due(hook), herald.ReasonStatus, 503), failedOnce(f.due(hook), herald.ReasonStatus, 503))
	if got := f.toTell(false); got != nil {
		t.Errorf("told of %v at once", got)
	}
	f.exec(`UPDATE issues SET began_at = began_at - $1`, (9 * time.Minute).Microseconds())
	if got := f.toTell(false); got != nil {
		t.Errorf("told of %v after 9 minutes", got)
	}
	f.exec(`UPDATE issues SET began_at = began_at - $1`, time.Minute.Microseconds())
	if got := f.toTell(false); !slices.Equal(got, []string{hook}) {
		t.Errorf("to tell after 10 minutes: %v", got)
	}
}

// TestAcknowledgedIssueIsNotTold: who acknowledged it knows of it.
func TestAcknowledgedIssueIsNotTold(t *testing.T) { onBoth(t, testAcknowledgedIssueIsNotTold) }

func testAcknowledgedIssueIsNotTold(t *testing.T, f *fixture) {
	f.notify(byDeliveries)
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	if _, err := f.AcknowledgeIssue(t.Context(), operator, f.client.ID, f.issues("")[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500), failedForGood(f.due("https://b.example/"), herald.ReasonStatus, 500),
		failedForGood(f.due("https://b.example/"), herald.ReasonStatus, 500))
	if got := f.toTell(false); !slices.Equal(got, []string{"https://b.example/"}) {
		t.Errorf("to tell: %v", got)
	}
	f.record(reached(f.due(hook)))
	if n := f.tell(true); n != 0 {
		t.Errorf("told %d times of the recovery", n)
	}
}

// TestFailingNotificationsAreNotTold: a failing address of notifications causes none about itself.
func TestFailingNotificationsAreNotTold(t *testing.T) { onBoth(t, testFailingNotificationsAreNotTold) }

func testFailingNotificationsAreNotTold(t *testing.T, f *fixture) {
	f.notify(byDeliveries)
	for range 5 {
		p := f.prepare(f.client, true)
		p.Alerts[0].Items[0].Notification = true
		f.accept(p)
		f.record(failedForGood(p.Alerts[0].Items[0], herald.ReasonStatus, 550))
	}
	if got := f.toTell(false); got != nil || len(f.issues(herald.IssueOpen)) != 1 {
		t.Errorf("to tell: %v, with issues %+v", got, f.issues(""))
	}
}

// TestNodesMarkAReceiverOnce: a node that found a failing receiver before another marked it does not mark
// it again. Then the other may have told of it already.
func TestNodesMarkAReceiverOnce(t *testing.T) { onBoth(t, testNodesMarkAReceiverOnce) }

func testNodesMarkAReceiverOnce(t *testing.T, f *fixture) {
	f.notify(byDeliveries)
	for _, reason := range []herald.Reason{herald.ReasonStatus, herald.ReasonTimeout, herald.ReasonDNS} {
		f.record(failedForGood(f.due(hook), reason, 0))
	}
	if n := f.tell(false); n != 1 {
		t.Fatalf("told %d times", n)
	}
	at := receiver{client: f.client.ID, address: hook}.key()
	if err := f.markFailing(t.Context(), f.client.ID, at[:]); err != nil {
		t.Fatal(err)
	}
	if got := f.toTell(false); got != nil {
		t.Errorf("to tell again: %v", got)
	}
}

// TestNodeThatWaitedSeesTheMark: a node waits for another that marks the receiver, and reads the issues
// afterwards: the other may have marked one that began meanwhile.
func TestNodeThatWaitedSeesTheMark(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	f.notify(byDeliveries)
	f.record(failedOnce(f.due(hook), herald.ReasonTimeout, 0)) // no issue yet
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500), failedForGood(f.due(hook), herald.ReasonStatus, 500))
	other, err := f.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback() //nolint:errcheck // it is over unless the test has failed
	exec := func(text string) {
		t.Helper()
		if _, err := other.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	exec(`SELECT client_id FROM notifications FOR UPDATE`) // as markFailing
	exec(`SELECT id FROM issues WHERE reason = 'status' FOR UPDATE`)
	marked := make(chan error, 1)
	go func() {
		_, err := f.MarkFailing(t.Context())
		marked <- err
	}()
	f.waitForALockWait()
	exec(`UPDATE issues SET failed = 1, told = 2 WHERE reason = 'timeout'`)
	if err := errors.Join(other.Commit(), <-marked); err != nil {
		t.Fatal(err)
	}
	if got, err := f.ToTell(t.Context(), false); len(got) != 0 || err != nil {
		t.Errorf("to tell again: %+v, %v", got, err)
	}
}

// waitForALockWait waits until a session waits for a lock.
func (f *fixture) waitForALockWait() {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		n, err := first(f.t.Context(), f.read, scanInt, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		if err != nil || time.Now().After(deadline) {
			f.t.Fatalf("no session waits for a lock, %v", err)
		}
		if n > 0 {
			return
		}
	}
}
