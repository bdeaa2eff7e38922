package store

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// TestWhatHappensToAClientIsTold: open pages of the portal hear of every change that they may show, from whatever part of
// the store it comes, and of no other client's.
func TestWhatHappensToAClientIsTold(t *testing.T) { onBoth(t, testWhatHappensToAClientIsTold) }

func testWhatHappensToAClientIsTold(t *testing.T, f *fixture) {
	other := f.newClient("Other")
	var mu sync.Mutex
	told := make(map[uuid.UUID]int)
	f.happened = func(client uuid.UUID) {
		mu.Lock()
		defer mu.Unlock()
		told[client]++
	}
	tells := func(what string, do func() error) {
		t.Helper()
		mu.Lock()
		clear(told)
		mu.Unlock()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if told[f.client.ID] == 0 || told[other.ID] != 0 {
			t.Errorf("%s: the client is told of %d times, the other client %d times", what, told[f.client.ID], told[other.ID])
		}
	}
	by := herald.Caller{}
	prepared := f.prepare(f.client, true)
	tells("an event is accepted", func() error {
		_, err := f.Accept([]work.PreparedEvent{prepared})
		return err
	})
	item := prepared.Alerts[0].Items[0]
	tells("an attempt is recorded", func() error {
		return f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeRetry, 503), State: herald.Pending, Delay: time.Hour, Retries: 1})
	})
	tells("a delivery is made due", func() error {
		_, err := f.RetryDelivery(t.Context(), by, f.client.ID, item.ID)
		return err
	})
	tells("a delivery is claimed", func() error {
		if got := f.claim(1); len(got) == 1 {
			item = got[0]
		}
		return nil
	})
	tells("a delivery is postponed", func() error { return f.Postpone(t.Context(), item, time.Hour, "later") })
	tells("a delivery is cancelled", func() error { return f.CancelDelivery(t.Context(), by, f.client.ID, item.ID) })
	tells("a delivery is made again", func() error {
		_, err := f.AddDelivery(t.Context(), by, f.client.ID, work.Redelivery{Repeats: item.ID, Origin: origin, Address: hook})
		return err
	})
	held := f.claim(1)
	tells("a delivery ends without an attempt", func() error { return f.endUnsent(t.Context(), held[0], herald.ReasonContentMissing) })
	tells("a lost delivery is recovered", func() error {
		_, err := f.Recover(t.Context(), by, f.client.ID, []work.Redelivery{{Repeats: held[0].ID, Origin: origin, Address: hook}})
		return err
	})
	tells("a rule is made", func() error {
		return f.CreateRule(t.Context(), by, herald.Rule{ID: uuid.New(), ClientID: f.client.ID, Type: "Sync Failed", Webhook: hook})
	})
	mails := f.acceptMails(1, "ann@acme.example")
	tells("a mail waits for its mailbox", func() error {
		f.decideWithin(mails[0], policy.MailBounds{Confirm: true})
		return nil
	})
	tells("a mailbox is confirmed", func() error { return f.Confirm(t.Context(), by, f.client.ID, "ann@acme.example") })
	mails[0] = f.claimMail()
	tells("a digest is recorded", func() error {
		return f.RecordDigest(t.Context(), work.Result{Item: mails[0], Attempt: attempt(mails[0], herald.OutcomeDelivered, 250), State: herald.Delivered}, nil, time.Minute)
	})
	f.accept(f.prepare(f.client, true))
	tells("a dead node's delivery is freed", func() error {
		f.becomeOrphans()
		return nil
	})
	// The operator publishes events of several clients in one request.
	f.client, other = other, f.client
	tells("an event of another client is accepted", func() error {
		_, err := f.Accept([]work.PreparedEvent{f.prepare(f.client, false)})
		return err
	})
	clear(told)
	f.accept(f.prepare(f.client, false), f.prepare(other, false))
	if told[f.client.ID] != 1 || told[other.ID] != 1 {
		t.Errorf("of the events of two clients in one request, %d and %d times are told", told[f.client.ID], told[other.ID])
	}
}
