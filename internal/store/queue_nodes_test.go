package store

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

func TestOrphanIsMadeAgainWithoutUsingUpARetry(t *testing.T) {
	onBoth(t, testOrphanIsMadeAgainWithoutUsingUpARetry)
}

func testOrphanIsMadeAgainWithoutUsingUpARetry(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	// A second incarnation of the node declares the first dead: the deliveries that
	// the first held are orphans. On an embedded database Register removes the first.
	dead := f.node.Load()
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.dialect.shared {
		others, err := f.Heartbeat(t.Context())
		if err != nil || len(others) != 1 {
			t.Fatalf("other nodes: %v, %v; want the dead one", others, err)
		}
		if removed, err := f.DeclareDead(t.Context(), dead, others[dead]+1); removed || err != nil {
			t.Fatalf("a node was declared dead after another heartbeat: %v, %v", removed, err)
		}
		if removed, err := f.DeclareDead(t.Context(), dead, others[dead]); !removed || err != nil {
			t.Fatalf("declaring the dead node dead: %v, %v", removed, err)
		}
	}
	last, n, err := f.FreeOrphans(t.Context(), uuid.Nil)
	if err != nil || n != 1 {
		t.Fatalf("FreeOrphans = %d, %v, want 1", n, err)
	}
	if _, n, err := f.FreeOrphans(t.Context(), last); err != nil || n != 0 {
		t.Fatalf("FreeOrphans again = %d, %v, want 0", n, err)
	}
	got := f.claim(1)
	if len(got) != 1 || got[0].Attempt != 2 || got[0].Retries != 0 {
		t.Fatalf("claimed %+v, want the second attempt without a retry used up", got)
	}
	_, attempts := f.delivery(got[0].ID)
	if len(attempts) != 1 || attempts[0].Outcome != herald.OutcomeUnknown || attempts[0].Reason != herald.ReasonInterrupted {
		t.Errorf("attempts %+v, want one that may have been sent", attempts)
	}
	// A late result of the first incarnation must not count.
	late := prepared.Alerts[0].Items[0]
	if err := f.Record(work.Result{Item: late, Attempt: attempt(late, herald.OutcomeRejected, 400), State: herald.Failed}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("the late result: %v, want ErrNotHeld", err)
	}
}

// TestNodeIsKnownBeforeItHolds: whatever becomes of Register's commit, what is accepted
// afterwards is not an orphan.
func TestNodeIsKnownBeforeItHolds(t *testing.T) {
	f, proxy := newCutFixture(t, nil)
	proxy.armedBefore.Store(true)
	if err := f.Register(t.Context()); err != nil {
		t.Logf("Register: %v", err)
	}
	if n := proxy.cuts.Load(); n != 1 {
		t.Fatalf("%d connections were cut, want 1", n)
	}
	f.accept(f.prepare(f.client, true))
	if _, n, err := f.FreeOrphans(t.Context(), uuid.Nil); n != 0 || err != nil {
		t.Errorf("FreeOrphans = %d, %v; want none", n, err)
	}
}

// TestDeadNodeTakesNothing: what a node accepts after it was declared dead, or after it has
// left, waits to be claimed. It is not an orphan, which would count as perhaps sent.
func TestDeadNodeTakesNothing(t *testing.T) { onBoth(t, testDeadNodeTakesNothing) }

func testDeadNodeTakesNothing(t *testing.T, f *fixture) {
	if f.dialect.shared {
		if dead, err := f.DeclareDead(t.Context(), f.node.Load(), 0); !dead || err != nil {
			t.Fatalf("declaring the node dead: %v, %v", dead, err)
		}
	} else if err := f.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	if node := prepared.Alerts[0].Items[0].Node; node != 0 {
		t.Errorf("node %d counts as the holder, want none", node)
	}
	for range 2 { // what this node knows of its death may change
		claimed, err := f.Claim(t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: 1, Bytes: plenty}}, plenty)
		if !errors.Is(err, work.ErrDeclaredDead) || len(claimed.Items) != 0 {
			t.Errorf("the dead node claimed %+v, %v; want ErrDeclaredDead", claimed, err)
		}
		if _, err := f.Heartbeat(t.Context()); !errors.Is(err, work.ErrDeclaredDead) {
			t.Errorf("its heartbeat: %v, want ErrDeclaredDead", err)
		}
	}
	if _, n, err := f.FreeOrphans(t.Context(), uuid.Nil); n != 0 || err != nil {
		t.Errorf("FreeOrphans = %d, %v; want none", n, err)
	}
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := f.claim(1)
	if len(got) != 1 || got[0].Attempt != 1 {
		t.Errorf("claimed %+v, want the first attempt", got)
	}
}
