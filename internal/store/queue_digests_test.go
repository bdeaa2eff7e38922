package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// acceptMails accepts n mails to one mailbox, held by this node.
func (f *fixture) acceptMails(n int, box string) []work.Item {
	f.t.Helper()
	var items []work.Item
	for range n {
		e := f.prepare(f.client, true)
		d := &e.Alerts[0].Items[0]
		d.Origin, d.Address = herald.MailScheme, herald.MailScheme+box
		f.accept(e)
		items = append(items, *d)
	}
	return items
}

func (f *fixture) decideMail(d work.Item, window time.Duration) (policy.MailAction, []work.DigestEntry) {
	f.t.Helper()
	action, digest, err := f.DecideMail(f.t.Context(), d, policy.Digest{Limit: 3, Window: window})
	if err != nil {
		f.t.Fatal(err)
	}
	return action, digest
}

// claimMail waits until a mail is due and claims it. Only one may be due.
func (f *fixture) claimMail() work.Item {
	f.t.Helper()
	lane := work.Lane{Client: f.client.ID, Origin: herald.MailScheme}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		claimed, err := f.Claim(f.t.Context(), []work.Claim{{Lane: lane, N: 100, Bytes: plenty}}, plenty)
		items := claimed.Items
		if err != nil || len(items) > 1 {
			f.t.Fatalf("%d mails are items, %v", len(items), err)
		}
		if len(items) == 1 {
			return items[0]
		}
	}
	f.t.Fatal("no mail is due")
	return work.Item{}
}

// TestStormBecomesADigest: deliveries of mails over the limit end with the digest.
func TestStormBecomesADigest(t *testing.T) { onBoth(t, testStormBecomesADigest) }

func testStormBecomesADigest(t *testing.T, f *fixture) {
	const window = 200 * time.Millisecond
	all := f.acceptMails(10, "Ann@acme.example")
	var actions []policy.MailAction
	for _, d := range all {
		action, _ := f.decideMail(d, window)
		actions = append(actions, action)
	}
	for i, action := range actions {
		if want := i < 3; want != (action == policy.SendMail) || !want && !action.Waits() {
			t.Errorf("mail %d: action %d", i, action)
		}
	}
	if action, _ := f.decideMail(f.acceptMails(1, "bob@acme.example")[0], window); action != policy.SendMail {
		t.Errorf("another mailbox: action %d", action)
	}
	carrier := f.claimMail()
	action, digest := f.decideMail(carrier, window)
	if action != policy.SendDigest || len(digest) != 7 || digest[0].DeliveryID != all[3].ID || digest[0].Message == "" || digest[0].Type != "Sync Failed" {
		t.Fatalf("action %d with %+v, want a digest of 7", action, digest)
	}
	late := f.acceptMails(1, "ANN@acme.example")[0] // while the digest is being sent
	if action, _ := f.decideMail(late, window); !action.Waits() {
		t.Errorf("a late mail: action %d", action)
	}
	result := work.Result{Item: carrier, Attempt: attempt(carrier, herald.OutcomeDelivered, 250), State: herald.Delivered}
	if err := f.RecordDigest(t.Context(), result, digest, window); err != nil {
		t.Fatal(err)
	}
	if err := f.RecordDigest(t.Context(), result, digest, window); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("recorded twice: %v", err)
	}
	for _, g := range digest {
		if d, attempts := f.delivery(g.DeliveryID); d.State != herald.Delivered || len(attempts) != 1 {
			t.Errorf("delivery %s is %s after %d attempts", g.DeliveryID, d.State, len(attempts))
		}
	}
	// The late mail is the carrier of the next digest.
	carrier = f.claimMail()
	if action, digest := f.decideMail(carrier, window); action != policy.SendDigest || len(digest) != 1 || carrier.ID != late.ID {
		t.Errorf("action %d with %+v", action, digest)
	}
	result.Item, result.Attempt = carrier, attempt(carrier, herald.OutcomeDelivered, 250)
	if err := f.RecordDigest(t.Context(), result, []work.DigestEntry{{DeliveryID: late.ID}}, window); err != nil {
		t.Fatal(err)
	}
	if action, _ := f.decideMail(f.acceptMails(1, "ann@acme.example")[0], window); action != policy.SendMail {
		t.Errorf("after the storm: action %d", action)
	}
}

// TestDigestWithoutACarrierFindsAnother: a client cancels the carrier, and RepairDigests assigns
// another.
func TestDigestWithoutACarrierFindsAnother(t *testing.T) {
	onBoth(t, testDigestWithoutACarrierFindsAnother)
}

func testDigestWithoutACarrierFindsAnother(t *testing.T, f *fixture) {
	all := f.acceptMails(6, "ann@acme.example")
	for _, d := range all {
		f.decideMail(d, time.Hour)
	}
	if err := f.CancelDelivery(t.Context(), herald.Caller{}, f.client.ID, all[3].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := f.RepairDigests(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d digests, %v", n, err)
	}
	if n, err := f.RepairDigests(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d digests, %v", n, err)
	}
	carrier := f.claimMail()
	action, digest := f.decideMail(carrier, time.Hour)
	if action != policy.SendDigest || len(digest) != 2 || carrier.ID != all[4].ID {
		t.Errorf("action %d with %+v carried by %s", action, digest, carrier.ID)
	}
	if d, _ := f.delivery(uuid.UUID(all[5].ID)); d.State != herald.Pending {
		t.Errorf("the parked one is %s", d.State)
	}
}

// becomeOrphans makes this process another node and frees what the first one held.
func (f *fixture) becomeOrphans() {
	f.t.Helper()
	dead := f.node.Load()
	if err := f.Register(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if f.Shared() {
		if removed, err := f.DeclareDead(f.t.Context(), dead, 0); !removed || err != nil {
			f.t.Fatalf("declared dead: %v, %v", removed, err)
		}
	}
	if _, n, err := f.FreeOrphans(f.t.Context(), uuid.Nil); n == 0 || err != nil {
		f.t.Fatalf("%d orphans, %v", n, err)
	}
}

// TestFreedMailsAreCountedInTheirWindow: mails that a dead node held, and had not sent, become a
// digest like others. Only a retry is sent by itself at once.
func TestFreedMailsAreCountedInTheirWindow(t *testing.T) {
	onBoth(t, testFreedMailsAreCountedInTheirWindow)
}

func testFreedMailsAreCountedInTheirWindow(t *testing.T, f *fixture) {
	f.acceptMails(10, "ann@acme.example")
	f.becomeOrphans()
	lane := work.Lane{Client: f.client.ID, Origin: herald.MailScheme}
	mails, err := f.Claim(t.Context(), []work.Claim{{Lane: lane, N: 100, Bytes: plenty}}, plenty)
	if err != nil || len(mails.Items) != 10 || mails.Items[0].Attempt != 2 {
		t.Fatalf("claimed %+v, %v; want the second attempts of 10 mails", mails, err)
	}
	actions := map[policy.MailAction]int{}
	for _, d := range mails.Items {
		action, _ := f.decideMail(d, time.Hour)
		actions[action]++
		if action != policy.SendMail {
			continue
		}
		failed := work.Result{Item: d, Attempt: attempt(d, herald.OutcomeRetry, 450), State: herald.Pending, Retries: 1}
		if err := f.Record(failed); err != nil {
			t.Fatal(err)
		}
	}
	if actions[policy.SendMail] != 3 || actions[policy.CarryDigest] != 1 || actions[policy.JoinDigest] != 6 {
		t.Errorf("actions %v, want 3 mails, and a digest of 7", actions)
	}
	retries, err := f.Claim(t.Context(), []work.Claim{{Lane: lane, N: 100, Bytes: plenty}}, plenty)
	if err != nil || len(retries.Items) != 3 {
		t.Fatalf("claimed %d retries, %v", len(retries.Items), err)
	}
	for _, d := range retries.Items {
		if action, _ := f.decideMail(d, time.Hour); action != policy.SendMail {
			t.Errorf("a retry: action %d, want that it is sent", action)
		}
	}
}
