package store

import (
	"errors"
	"testing"

	"herald"
	"herald/internal/work"
)

func TestExpiredKeyIsForgotten(t *testing.T) { onBoth(t, testExpiredKeyIsForgotten) }

func testExpiredKeyIsForgotten(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	prepared.IdempotencyKey = "k"
	f.accept(prepared)
	if _, err := f.write.ExecContext(t.Context(), `UPDATE idempotency SET expires_at = 1`); err != nil {
		t.Fatal(err)
	}
	again := f.prepare(f.client, true)
	again.IdempotencyKey = "k"
	again.Fingerprint = [32]byte{9}
	if got := f.accept(again)[0].EventID; got != again.Event.ID {
		t.Errorf("an expired key still has the receipt of %v", got)
	}
	if _, err := f.write.ExecContext(t.Context(), `UPDATE idempotency SET expires_at = 1`); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ExpireIdempotencyKeys(t.Context()); n != 1 || err != nil {
		t.Errorf("ExpireIdempotencyKeys = %d, %v, want 1", n, err)
	}
}

func TestDeletedClientsDeliveriesAreCancelled(t *testing.T) {
	onBoth(t, testDeletedClientsDeliveriesAreCancelled)
}

func testDeletedClientsDeliveriesAreCancelled(t *testing.T, f *fixture) {
	prepared, stale := f.prepare(f.client, false), f.prepare(f.client, true)
	f.accept(prepared)
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Client(t.Context(), f.client.ID)
	wantCode(t, err, herald.CodeNotFound)
	if n, err := f.CancelDeletedClients(t.Context()); n != 1 || err != nil {
		t.Fatalf("CancelDeletedClients = %d, %v, want 1", n, err)
	}
	if d, _ := f.delivery(prepared.Alerts[0].Items[0].ID); d.State != herald.Cancelled || d.Reason != herald.ReasonClientDeleted {
		t.Errorf("delivery %+v, want it cancelled with its client", d)
	}
	if _, err = f.Accept([]work.PreparedEvent{stale}); !errors.Is(err, work.ErrStale) {
		t.Errorf("accepting for a deleted client: %v, want ErrStale", err)
	}
}
