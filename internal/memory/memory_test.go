package memory_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"herald/internal/memory"
)

func TestBudgetIsSharedAndGivenBack(t *testing.T) {
	b := memory.NewBudget(100)
	acme, rival := uuid.New(), uuid.New()
	a := b.Share(acme)
	if !a.Grow(30) || !a.Grow(50) || a.Grow(51) || !a.Grow(20) {
		t.Fatal("a client gets half, and to grow to less takes nothing")
	}
	again := b.Share(acme)
	if again.Grow(1) || !again.Grow(0) {
		t.Error("all requests of a client share its half")
	}
	r, operator := b.Share(rival), b.Share(uuid.Nil)
	if !r.Grow(20) || operator.Grow(31) || !operator.Grow(30) || r.Grow(21) {
		t.Error("together they have no more than all")
	}
	a.Release()
	a.Release()
	if !operator.Grow(80) || r.Grow(21) {
		t.Error("what was given back once can be taken once; the operator gets all")
	}
	operator.Release()
	r.Release()
	if whole := b.Share(uuid.Nil); !whole.Grow(100) || whole.Grow(101) {
		t.Error("all was given back")
	}
	var none memory.Share
	if !none.Grow(1 << 40) {
		t.Error("without a budget there is no bound")
	}
	none.Release()
	if err := memory.Reserve(t.Context(), 1<<40); err != nil {
		t.Errorf("outside of a request: %v", err)
	}
}

func TestReuseTakesMemoryForTheLargestOnly(t *testing.T) {
	var taken int64
	ctx := memory.WithReuse(memory.WithReserve(t.Context(), func(bytes int64) error {
		if taken+bytes > 100 {
			return errors.New("full")
		}
		taken += bytes
		return nil
	}))
	for _, step := range []struct {
		bytes, taken int64
		refused      bool
	}{{60, 60, false}, {50, 60, false}, {90, 90, false}, {101, 90, true}, {100, 100, false}} {
		if err := memory.Reserve(ctx, step.bytes); (err != nil) != step.refused || taken != step.taken {
			t.Errorf("after %d bytes %d are taken, %v; want %d", step.bytes, taken, err, step.taken)
		}
	}
}
