package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// heapFloor is the size of the heap, in bytes, below which garbage is not collected. The collector
// runs when the heap has doubled. Of a small heap that is after every few megabytes, which took a
// quarter of a small service's time. A heap of more than half of this grows as usual.
const heapFloor = 48 << 20

// keepHeapFloor makes the collector keep to heapFloor until stop is called. GOGC in the environment
// wins.
func keepHeapFloor() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	var stopped atomic.Bool
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := usualPercent
	var afterCollection func(*[64]byte)
	afterCollection = func(*[64]byte) {
		if stopped.Load() {
			return
		}
		metrics.Read(live)
		if next := percentFor(live[0].Value.Uint64()); next != percent { // a change stops the world for a moment
			debug.SetGCPercent(next)
			percent = next
		}
		runtime.SetFinalizer(new([64]byte), afterCollection)
	}
	afterCollection(nil)
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(usualPercent)
	}
}

// usualPercent is by how much the heap grows before garbage is collected, as in Go.
const usualPercent = 100

// percentFor returns by how much a heap of so many live bytes may grow, in steps of tens.
func percentFor(live uint64) int {
	return max(usualPercent, int(heapFloor*100/max(live, 1<<20))/10*10-100)
}
