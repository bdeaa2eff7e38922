package fairqueue

import "testing"

func TestFifoKeepsItsOrderAcrossGrowthAndTheEndOfItsBuffer(t *testing.T) {
	var q fifo[int]
	in, out := 0, 0
	for _, pushes := range []int{3, 1, 7, 0, 200, 5} {
		for range pushes {
			q.push(in)
			in++
		}
		for range pushes / 2 {
			if got := q.pop(); got != out {
				t.Fatalf("popped %d, want %d", got, out)
			}
			out++
		}
	}
	for ; q.size > 0; out++ {
		if got := q.pop(); got != out {
			t.Fatalf("popped %d, want %d", got, out)
		}
	}
	if out != in {
		t.Errorf("%d of %d came out", out, in)
	}
}

func TestEmptyFifoDropsALongBuffer(t *testing.T) {
	for _, test := range []struct {
		items int
		keeps bool
	}{{maxEmptyBuffer, true}, {maxEmptyBuffer + 1, false}} {
		var q fifo[int]
		for i := range test.items {
			q.push(i)
		}
		for q.size > 0 {
			q.pop()
		}
		if keeps := len(q.buffer) > 0; keeps != test.keeps {
			t.Errorf("after %d items it keeps its buffer: %v, want %v", test.items, keeps, test.keeps)
		}
	}
}
