package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/delivery"
	"herald/internal/store"
	"herald/internal/webhook"
	"herald/internal/work"
)

// slowStore takes a second for each claim.
type slowStore struct {
	*store.Store
	claiming chan struct{} // gets a value when a claim begins
}

func (s *slowStore) Claim(ctx context.Context, claims []work.Claim, room int) (work.Claimed, error) {
	claimed, err := s.Store.Claim(ctx, claims, room)
	s.claiming <- struct{}{}
	time.Sleep(time.Second)
	return claimed, err
}

// TestStopDuringAClaim: what a claim takes while the service stops is handed back. It does not
// count as perhaps sent.
func TestStopDuringAClaim(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{claiming: make(chan struct{}, 10)}
		f := newFixture(t, dir, delivery.Options{Store: slow}, always(200)).withClient("https://a.example/")
		old := f.publish(1)[0]
		synctest.Wait()
		again, err := f.control.Redeliver(t.Context(), herald.Caller{}, f.client.ID, old)
		if err != nil {
			t.Fatal(err)
		}
		<-slow.claiming
		client := f.client
		f.stop()
		f = newFixture(t, dir, delivery.Options{}, always(200))
		f.client = client
		time.Sleep(10 * time.Second)
		f.wantOneAttempt(again.ID)
		f.stop()
	})
}

// TestPublishDuringAStop: what was accepted when the stop had begun, by a publish that had room
// before or one that came later, is handed back or waits. It does not count as perhaps sent.
func TestPublishDuringAStop(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{}, func(context.Context, webhook.Request) webhook.Result {
			<-answer
			return status(200)
		}).withClient("https://a.example/")
		f.publish(1) // its attempt keeps the engine from stopping
		synctest.Wait()
		prepared := f.prepare("https://a.example/")
		f.engine.Reserve(prepared) // a publish that has room and is not yet committed
		stopped := make(chan error)
		go func() { stopped <- f.engine.Stop(t.Context()) }()
		synctest.Wait()
		if _, err := f.store.Accept(prepared); err != nil {
			t.Fatal(err)
		}
		close(answer)
		synctest.Wait()
		select {
		case err := <-stopped:
			t.Fatalf("Stop returned %v before the publish had ended", err)
		default:
		}
		f.engine.AfterCommit(prepared, func(int) bool { return true })
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		ids := f.publish(1) // one that came later
		if err := f.store.Close(); err != nil {
			t.Fatal(err)
		}
		client := f.client
		f = newFixture(t, dir, delivery.Options{}, always(200))
		f.client = client
		time.Sleep(10 * time.Second)
		for _, id := range append(ids, prepared[0].Alerts[0].Items[0].ID) {
			f.wantOneAttempt(id)
		}
		f.stop()
	})
}

// prepare returns an event with one delivery.
func (f *fixture) prepare(address string) []work.PreparedEvent {
	f.t.Helper()
	version, err := f.store.Version(f.t.Context(), f.client.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	event := herald.Event{ID: herald.NewEventID(), ClientID: f.client.ID, Type: "Sync Completed", OccurredAt: time.Now()}
	alert := herald.AlertID(event.ID, 1)
	origin, err := webhook.Origin(address)
	if err != nil {
		f.t.Fatal(err)
	}
	return []work.PreparedEvent{{Event: event, ClientVersion: version, Alerts: []work.PreparedAlert{{
		ID: alert, RuleID: uuid.New(), Message: "m", Head: []byte(`{"a":1`),
		Items: []work.Item{{ID: herald.DeliveryID(alert, 0), ClientID: f.client.ID, Origin: origin, Address: address, Attempt: 1, MadeAt: time.Now()}},
	}}}}
}

// wantOneAttempt checks that a delivery was made by its first attempt.
func (f *fixture) wantOneAttempt(id uuid.UUID) {
	f.t.Helper()
	d, attempts := f.delivery(id)
	if d.State != herald.Delivered || len(attempts) != 1 || attempts[0].Outcome != herald.OutcomeDelivered {
		f.t.Errorf("the delivery is %v after %+v; want it delivered by one attempt", d.State, attempts)
	}
}
