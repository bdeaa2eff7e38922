package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestSmallHeapIsCollectedLate(t *testing.T) {
	for live, want := range map[uint64]int{0: 4700, 4 << 20: 1100, 16 << 20: 200, 22 << 20: 110, 24 << 20: 100, 200 << 20: 100, 5 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB: %d %%, want %d", live>>20, got, want)
		}
	}
}

// TestHeapFloorFollowsTheHeap: a heap that has grown is collected as usual, and one that has shrunk late again.
func TestHeapFloorFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	stop := keepHeapFloor()
	eventually := func(what string, ok func(percent int) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			runtime.GC()
			percent := debug.SetGCPercent(usualPercent)
			debug.SetGCPercent(percent)
			if ok(percent) {
				return
			}
		}
		t.Errorf("%s is not collected so", what)
	}
	eventually("a small heap", func(percent int) bool { return percent > usualPercent })
	large := make([]byte, 2*heapFloor)
	eventually("a large heap", func(percent int) bool { return percent == usualPercent })
	runtime.KeepAlive(large)
	eventually("a heap that has shrunk", func(percent int) bool { return percent > usualPercent })
	stop()
	eventually("a heap after the end", func(percent int) bool { return percent == usualPercent })
}
