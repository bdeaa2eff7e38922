package store

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// issues returns the issues of the fixture's client in a state, newest first.
func (f *fixture) issues(state herald.IssueState) []herald.Issue {
	f.t.Helper()
	found, _, err := f.Issues(f.t.Context(), f.client.ID, herald.IssueFilter{State: state, Limit: 5000})
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// due accepts an event and returns its delivery, which this node holds, to an address.
func (f *fixture) due(address string) work.Item {
	f.t.Helper()
	p := f.prepare(f.client, true)
	p.Alerts[0].Items[0].Address = address
	f.accept(p)
	return p.Alerts[0].Items[0]
}

// failedOnce returns a result with a retry, failedForGood one without, and reached a success.
func failedOnce(d work.Item, reason herald.Reason, status int) work.Result {
	a := attempt(d, herald.OutcomeRetry, status)
	a.Reason = reason
	return work.Result{Item: d, Attempt: a, State: herald.Pending, Retries: d.Retries + 1}
}

func failedForGood(d work.Item, reason herald.Reason, status int) work.Result {
	a := attempt(d, herald.OutcomeRejected, status)
	a.Reason = reason
	return work.Result{Item: d, Attempt: a, State: herald.Failed, Reason: herald.ReasonExhausted}
}

func reached(d work.Item) work.Result {
	return work.Result{Item: d, Attempt: attempt(d, herald.OutcomeDelivered, 200), State: herald.Delivered}
}

func (f *fixture) record(results ...work.Result) {
	f.t.Helper()
	for _, r := range results {
		if err := f.Record(r); err != nil {
			f.t.Fatal(err)
		}
	}
}

// TestFailuresBecomeIssues: failing deliveries of one receiver with one reason are one issue, from the
// second failing attempt to the first success.
func TestFailuresBecomeIssues(t *testing.T) { onBoth(t, testFailuresBecomeIssues) }

func testFailuresBecomeIssues(t *testing.T, f *fixture) {
	a, b := f.due(hook), f.due(hook)
	f.record(failedOnce(a, herald.ReasonStatus, 503))
	if got := f.issues(""); len(got) != 0 {
		t.Fatalf("one failing attempt made issues: %+v", got)
	}
	f.record(failedOnce(b, herald.ReasonStatus, 502))
	open := f.issues(herald.IssueOpen)
	if len(open) != 1 {
		t.Fatalf("open issues %+v, want one while the deliveries wait", open)
	}
	issue := open[0]
	want := herald.Issue{ID: issue.ID, ClientID: f.client.ID, Receiver: hook, Reason: herald.ReasonStatus, State: herald.IssueOpen, Attempts: 2,
		BeganAt: issue.BeganAt, LastAt: issue.LastAt, LastDelivery: b.ID, LastStatus: 502,
		RecoveryFilter: herald.RecoveryFilter{Receiver: hook, Reason: herald.ReasonStatus, Since: herald.TimeOf(a.ID)}}
	if diff := cmp.Diff(want, issue); diff != "" || issue.LastAt.Before(issue.BeganAt) || issue.BeganAt.IsZero() {
		t.Errorf("issue (-want +got):\n%s", diff)
	}
	f.record(failedForGood(f.due(hook), herald.ReasonTimeout, 0), failedForGood(f.due(hook), herald.ReasonStatus, 500), reached(f.due("https://other.example/hook")))
	if got := f.issues(herald.IssueOpen); len(got) != 2 || got[0].Reason != herald.ReasonTimeout || got[1].ID != issue.ID || got[1].Attempts != 3 || got[1].Failed != 1 {
		t.Errorf("issues %+v, want one for each reason", got)
	}
	f.record(reached(f.due(hook)))
	if got := f.issues(herald.IssueOpen); len(got) != 0 {
		t.Errorf("open issues %+v after a success", got)
	}
	ended := f.issues(herald.IssueEnded)
	if len(ended) != 2 || ended[0].EndedAt.IsZero() || !ended[0].RecoveryFilter.Until.Equal(ended[0].EndedAt) {
		t.Errorf("ended issues %+v", ended)
	}
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	if got := f.issues(herald.IssueOpen); len(got) != 1 || got[0].ID == issue.ID || got[0].Failed != 1 {
		t.Errorf("issues %+v after another failure, want a new one", got)
	}
	if got := f.issues(""); len(got) != 3 {
		t.Errorf("%d issues in all, want 3", len(got))
	}
}

// TestHiccupIsNoIssue: one failing attempt that a retry mends is none, and leaves nothing behind.
func TestHiccupIsNoIssue(t *testing.T) { onBoth(t, testHiccupIsNoIssue) }

func testHiccupIsNoIssue(t *testing.T, f *fixture) {
	f.record(failedOnce(f.due(hook), herald.ReasonStatus, 503))
	again := f.claim(1)
	f.record(reached(again[0]))
	f.record(failedOnce(f.due(hook), herald.ReasonStatus, 503)) // not the second in a row
	if got := f.issues(""); len(got) != 0 {
		t.Errorf("issues %+v", got)
	}
	f.record(reached(f.due(hook)))
	if _, err := f.ExpireIssues(t.Context()); err != nil || f.rows("issues") != 0 {
		t.Errorf("%d rows are left, %v", f.rows("issues"), err)
	}
}

// TestWhatIsNoFaultOfAReceiver: waits, faults of this service and cancelled deliveries are no issues.
// A delivery that fails for good is one whatever its reason.
func TestWhatIsNoFaultOfAReceiver(t *testing.T) { onBoth(t, testWhatIsNoFaultOfAReceiver) }

func testWhatIsNoFaultOfAReceiver(t *testing.T, f *fixture) {
	for _, reason := range []herald.Reason{herald.ReasonLocal, herald.ReasonInterrupted, herald.ReasonAttemptLimit, herald.ReasonNoConsent} {
		f.record(failedOnce(f.due(hook), reason, 0), failedOnce(f.due(hook), reason, 0))
	}
	d := f.due(hook)
	f.record(work.Result{Item: d, State: herald.Cancelled, Reason: herald.ReasonUnsubscribed})
	if got := f.issues(""); len(got) != 0 {
		t.Errorf("issues %+v", got)
	}
	f.record(work.Result{Item: f.due(hook), State: herald.Failed, Reason: herald.ReasonExpired})
	if got := f.issues(""); len(got) != 1 || got[0].Reason != herald.ReasonExpired || got[0].Attempts != 0 || got[0].Failed != 1 {
		t.Errorf("issues %+v, want one of the delivery that expired", got)
	}
}

// TestIssuesCountResultsOnce: a result that is recorded again, or too late, changes no issue.
func TestIssuesCountResultsOnce(t *testing.T) { onBoth(t, testIssuesCountResultsOnce) }

func testIssuesCountResultsOnce(t *testing.T, f *fixture) {
	a, b := f.due(hook), f.due(hook)
	final, retry, won := failedForGood(a, herald.ReasonStatus, 500), failedOnce(b, herald.ReasonStatus, 503), reached(f.due(hook))
	f.record(won, final, retry)
	for _, r := range []work.Result{won, final, retry} {
		if err := f.Record(r); err != work.ErrNotHeld {
			t.Errorf("recording again: %v", err)
		}
	}
	if got := f.issues(""); len(got) != 1 || got[0].State != herald.IssueOpen || got[0].Attempts != 2 || got[0].Failed != 1 {
		t.Errorf("issues %+v, want one with two attempts", got)
	}
}

// TestIssuesOfOneBatch: the results of a batch count in their order, with those of other receivers and
// clients between them.
func TestIssuesOfOneBatch(t *testing.T) { onBoth(t, testIssuesOfOneBatch) }

func testIssuesOfOneBatch(t *testing.T, f *fixture) {
	var results []work.Result
	for range 3 {
		results = append(results, failedForGood(f.due(hook), herald.ReasonStatus, 500))
	}
	results = append(results, failedForGood(f.due("https://b.example/"), herald.ReasonStatus, 400), reached(f.due(hook)))
	results = append(results, failedForGood(f.due(hook), herald.ReasonStatus, 401), reached(f.due("https://c.example/")))
	var requests []*request
	for _, r := range results {
		requests = append(requests, &request{client: f.client.ID, result: encodeResult(r)})
	}
	for _, err := range f.commitTogether(requests) {
		if err != nil {
			t.Fatal(err)
		}
	}
	type short struct {
		Receiver string
		State    herald.IssueState
		Failed   int
		Status   int
	}
	got := make(map[short]int)
	for _, i := range f.issues("") {
		got[short{i.Receiver, i.State, i.Failed, i.LastStatus}]++
	}
	want := map[short]int{{hook, herald.IssueEnded, 3, 500}: 1, {hook, herald.IssueOpen, 1, 401}: 1, {"https://b.example/", herald.IssueOpen, 1, 400}: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

// TestOpenIssuesOfAClientAreBounded: receivers over the bound share one issue, also if they come in one
// batch.
func TestOpenIssuesOfAClientAreBounded(t *testing.T) { onBoth(t, testOpenIssuesOfAClientAreBounded) }

func testOpenIssuesOfAClientAreBounded(t *testing.T, f *fixture) {
	f.uncounted = true // the least busy of so many receivers are counted together
	const over = 20
	var wait sync.WaitGroup
	for n := range herald.MaxOpenIssues + over {
		d := f.due(fmt.Sprintf("https://receiver.example/%d", n))
		wait.Go(func() {
			if err := f.Record(failedForGood(d, herald.ReasonStatus, 500)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	open := f.issues(herald.IssueOpen)
	rest := -1
	for n, i := range open {
		if i.Receiver == "" {
			rest = n
		}
	}
	if len(open) != herald.MaxOpenIssues+1 || rest < 0 || open[rest].Failed != over || open[rest].Reason != herald.ReasonNone {
		t.Fatalf("%d open issues, the shared one at %d", len(open), rest)
	}
	f.client = f.newClient("Other")
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	if got := f.issues(herald.IssueOpen); len(got) != 1 || got[0].Receiver != hook {
		t.Errorf("issues of another client: %+v", got)
	}
}

// TestMailboxHasIssues: a mailbox is a receiver, also where a digest ends its deliveries.
func TestMailboxHasIssues(t *testing.T) { onBoth(t, testMailboxHasIssues) }

func testMailboxHasIssues(t *testing.T, f *fixture) {
	items := f.acceptMails(4, "ann@acme.test")
	digest := policy.Digest{Limit: 1, Window: time.Minute}
	for i, d := range items {
		action, _, err := f.DecideMail(t.Context(), d, digest)
		if err != nil || i == 0 && action != policy.SendMail || i > 0 && !action.Waits() {
			t.Fatalf("mail %d: %v, %v", i, action, err)
		}
	}
	f.record(reached(items[0]))
	f.exec(`UPDATE queue SET due_at = 0`)
	carrier := f.claimMail()
	var entries []work.DigestEntry
	for _, d := range items[1:] {
		entries = append(entries, work.DigestEntry{DeliveryID: d.ID, Type: "Sync Failed"})
	}
	r := failedForGood(carrier, herald.ReasonStatus, 550)
	if err := f.RecordDigest(t.Context(), r, entries, time.Minute); err != nil {
		t.Fatal(err)
	}
	got := f.issues(herald.IssueOpen)
	if len(got) != 1 || got[0].Receiver != items[0].Address || got[0].Failed != 3 || got[0].LastStatus != 550 {
		t.Fatalf("issues %+v, want one of the three mails", got)
	}
	again := f.acceptMails(1, "ann@acme.test")
	f.record(reached(again[0]))
	if got := f.issues(herald.IssueOpen); len(got) != 0 {
		t.Errorf("issues %+v after a mail was taken", got)
	}
}

// TestNotificationsHaveIssuesOfTheirOwn: a delivery of Herald's own events neither adds to an issue of
// others nor ends one, and the mark outlives a retry.
func TestNotificationsHaveIssuesOfTheirOwn(t *testing.T) {
	onBoth(t, testNotificationsHaveIssuesOfTheirOwn)
}

func testNotificationsHaveIssuesOfTheirOwn(t *testing.T, f *fixture) {
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	notice := func() work.Item {
		p := f.prepare(f.client, true)
		p.Event.Type, p.Alerts[0].Items[0].Notification = herald.ReceiverFailing, true
		f.accept(p)
		return p.Alerts[0].Items[0]
	}
	f.record(reached(notice()))
	if got := f.issues(herald.IssueOpen); len(got) != 1 {
		t.Fatalf("issues %+v, want the one that a notification does not end", got)
	}
	f.record(failedOnce(notice(), herald.ReasonStatus, 503))
	again := f.claim(1)
	if len(again) != 1 || !again[0].Notification {
		t.Fatalf("claimed %+v, want a notification", again)
	}
	f.record(failedForGood(again[0], herald.ReasonStatus, 503))
	got := f.issues(herald.IssueOpen)
	if len(got) != 2 || !got[0].Notification || got[0].Attempts != 2 || got[1].Notification || got[1].Attempts != 1 {
		t.Errorf("issues %+v", got)
	}
}

func TestIssueIsAcknowledged(t *testing.T) { onBoth(t, testIssueIsAcknowledged) }

func testIssueIsAcknowledged(t *testing.T, f *fixture) {
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	id := f.issues("")[0].ID
	by := herald.Caller{Key: herald.Key{ID: herald.NewID(), ClientID: f.client.ID}}
	for _, note := range []string{"asked them", "they deploy at 9"} {
		got, err := f.AcknowledgeIssue(t.Context(), by, f.client.ID, id, note)
		if err != nil || got.Acknowledged == nil || got.Acknowledged.Note != note || got.Acknowledged.APIKeyID != by.Key.ID || got.Acknowledged.At.IsZero() {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	other := f.newClient("Other")
	_, err := f.AcknowledgeIssue(t.Context(), by, other.ID, id, "")
	wantCode(t, err, herald.CodeNotFound)
	_, err = f.Issue(t.Context(), other.ID, id)
	wantCode(t, err, herald.CodeNotFound)
	_, err = f.AcknowledgeIssue(t.Context(), operator, uuid.Nil, herald.NewID(), "")
	wantCode(t, err, herald.CodeNotFound)
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	if got, err := f.Issue(t.Context(), uuid.Nil, id); err != nil || got.Acknowledged == nil || got.Failed != 2 {
		t.Errorf("%+v, %v: want it acknowledged still", got, err)
	}
	f.record(reached(f.due(hook)), failedForGood(f.due(hook), herald.ReasonStatus, 500))
	_, err = f.AcknowledgeIssue(t.Context(), by, f.client.ID, id, "late")
	wantCode(t, err, herald.CodeConflict)
	if got := f.issues(herald.IssueOpen); len(got) != 1 || got[0].Acknowledged != nil {
		t.Errorf("issues %+v, want a new one that nobody has acknowledged", got)
	}
}

// TestIssuesExpire: an issue is deleted with the history of its last failure, of many ended ones the
// newest are kept, and those of a deleted client are in no list.
func TestIssuesExpire(t *testing.T) { onBoth(t, testIssuesExpire) }

func testIssuesExpire(t *testing.T, f *fixture) {
	for range herald.MaxEndedIssues + 5 {
		id := herald.NewID()
		f.exec(`INSERT INTO issues (id, client_id, receiver_key, receiver, notification, reason, began_at, last_at, ended_at, attempts, failed, made_from, last_delivery, last_status)
VALUES ($1, $2, $3, 'https://r.example', false, 'status', $4, $4, $4, 2, 0, 0, $1, 500)`, id[:], f.client.ID[:], id[:], micros(time.Now()))
	}
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	expire := func() {
		t.Helper()
		for n := 1; n > 0; {
			var err error
			if n, err = f.ExpireIssues(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	expire()
	if n := f.rows("issues"); n != herald.MaxEndedIssues+1 {
		t.Errorf("%d rows, want %d", n, herald.MaxEndedIssues+1)
	}
	f.exec(`UPDATE issues SET last_at = 0`)
	f.exec(`UPDATE history SET kept_hour = 1`)
	expire()
	if n := f.rows("issues"); n != 0 {
		t.Errorf("%d rows of old history", n)
	}
	f.record(failedForGood(f.due(hook), herald.ReasonStatus, 500))
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	if found, _, err := f.Issues(t.Context(), uuid.Nil, herald.IssueFilter{Limit: 10}); err != nil || len(found) != 0 {
		t.Errorf("issues of a deleted client: %+v, %v", found, err)
	}
	expire()
	if n := f.rows("issues"); n != 0 {
		t.Errorf("%d rows of a deleted client", n)
	}
}
