package delivery

import (
	"testing"
	"testing/synctest"
	"time"

	"herald"
)

// TestPausesHaveOneTimer: pauses that come and go within a second share a timer.
func TestPausesHaveOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		for range 100 {
			for range pauseAfter {
				e.countOwnFault(herald.ReasonLocal, "no descriptors")
			}
			if e.Paused() == "" {
				t.Fatal("sending does not pause")
			}
			e.countOwnFault(herald.ReasonNone, "")
		}
		for range pauseAfter {
			e.countOwnFault(herald.ReasonLocal, "no descriptors")
		}
		if !e.probeTimer.Stop() {
			t.Fatal("no timer runs during the pause")
		}
		time.Sleep(10 * time.Second)
		if e.probeTimer.Stop() {
			t.Error("another timer ran besides the one that was stopped")
		}
		e.countOwnFault(herald.ReasonNone, "")
		if e.probeTimer.Stop() {
			t.Error("a timer runs after the pause")
		}
	})
}
