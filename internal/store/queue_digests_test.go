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

// mails accepts n mails to one mailbox, held by this node.
func (f *fixture) mails(n int, box string) []work.Item {
	f.t.Helper()
	var due []work.Item
	for range n {
		e := f.entry(f.client, true)
		d := &e.Alerts[0].Items[0]
		d.Origin, d.Address = herald.MailScheme, herald.MailScheme+box
		f.accept(e)
		due = append(due, *d)
	}
	return due
}

func (f *fixture) decideMail(d work.Item, window time.Duration) (policy.MailAction, []work.DigestEntry) {
	f.t.Helper()
	turn, digest, err := f.DecideMail(f.t.Context(), d, policy.Digest{Limit: 3, Window: window})
	if err != nil {
		f.t.Fatal(err)
	}
	return turn, digest
}

// claimMail waits until a mail is due and claims it; there must be one alone.
func (f *fixture) claimMail() work.Item {
	f.t.Helper()
	lane := work.Lane{Client: f.client.ID, Origin: herald.MailScheme}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		due, err := f.Claim(f.t.Context(), []work.Claim{{Lane: lane, N: 100}})
		if err != nil || len(due) > 1 {
			f.t.Fatalf("%d mails are due, %v", len(due), err)
		}
		if len(due) == 1 {
			return due[0]
		}
	}
	f.t.Fatal("no mail is due")
	return work.Item{}
}

// TestStormBecomesADigest: what a mailbox is spared ends with the digest.
func TestStormBecomesADigest(t *testing.T) { onBoth(t, testStormBecomesADigest) }

func testStormBecomesADigest(t *testing.T, f *fixture) {
	const window = 200 * time.Millisecond
	all := f.mails(10, "Ann@acme.example")
	var turns []policy.MailAction
	for _, d := range all {
		turn, _ := f.decideMail(d, window)
		turns = append(turns, turn)
	}
	for i, turn := range turns {
		if want := i < 3; want != (turn == policy.SendMail) || !want && !turn.Waits() {
			t.Errorf("mail %d: turn %d", i, turn)
		}
	}
	if turn, _ := f.decideMail(f.mails(1, "bob@acme.example")[0], window); turn != policy.SendMail {
		t.Errorf("another mailbox: turn %d", turn)
	}
	carrier := f.claimMail()
	turn, digest := f.decideMail(carrier, window)
	if turn != policy.SendDigest || len(digest) != 7 || digest[0].DeliveryID != all[3].ID || digest[0].Message == "" || digest[0].Type != "Sync Failed" {
		t.Fatalf("turn %d with %+v, want a digest of 7", turn, digest)
	}
	late := f.mails(1, "ANN@acme.example")[0] // while the digest is being sent
	if turn, _ := f.decideMail(late, window); !turn.Waits() {
		t.Errorf("a late mail: turn %d", turn)
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
	// The late one carries the next.
	carrier = f.claimMail()
	if turn, digest := f.decideMail(carrier, window); turn != policy.SendDigest || len(digest) != 1 || carrier.ID != late.ID {
		t.Errorf("turn %d with %+v", turn, digest)
	}
	result.Item, result.Attempt = carrier, attempt(carrier, herald.OutcomeDelivered, 250)
	if err := f.RecordDigest(t.Context(), result, []work.DigestEntry{{DeliveryID: late.ID}}, window); err != nil {
		t.Fatal(err)
	}
	if turn, _ := f.decideMail(f.mails(1, "ann@acme.example")[0], window); turn != policy.SendMail {
		t.Errorf("after the storm: turn %d", turn)
	}
}

// TestDigestWithoutACarrierFindsAnother: a client may cancel the delivery that
// the others wait for.
func TestDigestWithoutACarrierFindsAnother(t *testing.T) {
	onBoth(t, testDigestWithoutACarrierFindsAnother)
}

func testDigestWithoutACarrierFindsAnother(t *testing.T, f *fixture) {
	all := f.mails(6, "ann@acme.example")
	for _, d := range all {
		f.decideMail(d, time.Hour)
	}
	if err := f.CancelDelivery(t.Context(), f.client.ID, all[3].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := f.RepairDigests(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d digests, %v", n, err)
	}
	if n, err := f.RepairDigests(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d digests, %v", n, err)
	}
	carrier := f.claimMail()
	turn, digest := f.decideMail(carrier, time.Hour)
	if turn != policy.SendDigest || len(digest) != 2 || carrier.ID != all[4].ID {
		t.Errorf("turn %d with %+v carried by %s", turn, digest, carrier.ID)
	}
	if d, _ := f.delivery(uuid.UUID(all[5].ID)); d.State != herald.Pending {
		t.Errorf("the parked one is %s", d.State)
	}
}
