package delivery

import (
	"time"

	"herald"
	"herald/internal/safetext"
)

// While all attempts fail for a fault of this service, each one only costs time. After pauseAfter of
// them in a row sending pauses, and one attempt in probeEvery finds out whether the fault is over.
const (
	pauseAfter = 16
	probeEvery = time.Second
)

// ownFaults decides whether sending pauses. It is pure; the engine holds mu when it calls it.
type ownFaults struct {
	row     int // attempts in a row that failed for a fault of this service
	paused  bool
	why     string
	probeAt time.Time // when the next attempt may begin during the pause
}

// count counts the result of an attempt. It returns true if sending pauses or goes on from now on.
func (o *ownFaults) count(reason herald.Reason, why string, now time.Time) bool {
	switch reason {
	case herald.ReasonLocal:
		o.row++
		o.why = why
		if o.paused || o.row < pauseAfter {
			return false
		}
		o.paused, o.probeAt = true, now.Add(probeEvery)
		return true
	case herald.ReasonNotAllowed, herald.ReasonAddress, herald.ReasonNoMailServer, herald.ReasonInterrupted:
		return false // it needed nothing of this machine
	default:
		was := o.paused
		*o = ownFaults{}
		return was
	}
}

// mayStart reports whether an attempt may begin now. During a pause only one in probeEvery may.
func (o *ownFaults) mayStart(now time.Time) bool { return !o.paused || !now.Before(o.probeAt) }

// started counts an attempt that begins.
func (o *ownFaults) started(now time.Time) {
	if o.paused {
		o.probeAt = now.Add(probeEvery)
	}
}

// countOwnFault counts the result of an attempt, and says when sending pauses or goes on.
func (e *Engine) countOwnFault(reason herald.Reason, why string) {
	why = safetext.Line(why, shortError)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ownFaults.count(reason, why, time.Now()) {
		return
	}
	if e.ownFaults.paused {
		e.Log.Error("sending pauses: all attempts fail because of a fault of this service", "error", why, "attempts", e.ownFaults.row)
		e.probeLater()
		return
	}
	e.probeTimer.Stop()
	e.Log.Info("sending goes on")
	e.startReady()
}

// probe starts what may start during a pause, and comes again until the pause ends.
func (e *Engine) probe() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ownFaults.paused || e.stopping {
		return
	}
	e.startReady()
	e.probeLater()
}

// probeLater sets the one timer of all pauses: one that comes soon after another would add a timer to
// that of the first. The caller holds mu.
func (e *Engine) probeLater() {
	if e.probeTimer == nil {
		e.probeTimer = time.AfterFunc(probeEvery, e.probe)
		return
	}
	e.probeTimer.Reset(probeEvery)
}

// Paused returns why sending pauses, or "" if it does not.
func (e *Engine) Paused() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ownFaults.paused {
		return ""
	}
	return "sending pauses: " + e.ownFaults.why
}
