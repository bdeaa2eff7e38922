package delivery

import (
	"herald"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/work"
)

// mailLimits are the limits of the window of mails. One client alone, whose mails are slow, gets a
// quarter of InFlight (fairqueue/share.go), and so all connections to the mail server. Slots are for a
// minute of mails at 100 ms each on these connections.
var mailLimits = fairqueue.Limits{Items: 2400, Bytes: 16 << 20, InFlight: 4 * mail.MaxConnections, InFlightPerLane: 2 * mail.MaxConnections}

// windows are two windows that are used as one: mails have one of their own. All mails wait for one
// server, which may take ten minutes for each. In one window with webhooks they would take the slots
// and places of slow lanes, and so delay receivers that have not answered yet.
type windows struct {
	webhooks, mails *fairqueue.Window[*item]
}

func newWindows(webhooks fairqueue.Limits) windows {
	return windows{fairqueue.New[*item](webhooks), fairqueue.New[*item](mailLimits)}
}

// of returns the window of a lane.
func (w windows) of(lane work.Lane) *fairqueue.Window[*item] {
	if lane.Origin == herald.MailScheme {
		return w.mails
	}
	return w.webhooks
}

// Next returns the next item of either window.
func (w windows) Next() (*item, work.Lane, bool) {
	if i, lane, ok := w.webhooks.Next(); ok {
		return i, lane, true
	}
	return w.mails.Next()
}

// Drain drains both windows.
func (w windows) Drain(size func(*item) int) []*item {
	return append(w.webhooks.Drain(size), w.mails.Drain(size)...)
}

// Stats returns the sums of both.
func (w windows) Stats() fairqueue.Stats {
	s, m := w.webhooks.Stats(), w.mails.Stats()
	return fairqueue.Stats{
		Items: s.Items + m.Items, Bytes: s.Bytes + m.Bytes, InFlight: s.InFlight + m.InFlight,
		SlowInFlight: s.SlowInFlight + m.SlowInFlight, Lanes: s.Lanes + m.Lanes, Spilled: s.Spilled + m.Spilled,
	}
}

// FreeBytes returns the bytes that are free in both.
func (w windows) FreeBytes() int { return w.webhooks.FreeBytes() + w.mails.FreeBytes() }

// The methods of fairqueue.Window for one lane.

func (w windows) Reserve(l work.Lane, size int) bool           { return w.of(l).Reserve(l, size) }
func (w windows) Add(l work.Lane, i *item)                     { w.of(l).Add(l, i) }
func (w windows) Ended(l work.Lane, r fairqueue.Result)        { w.of(l).Ended(l, r) }
func (w windows) Release(l work.Lane, size int)                { w.of(l).Release(l, size) }
func (w windows) Enter(l work.Lane) bool                       { return w.of(l).Enter(l) }
func (w windows) Leave(l work.Lane)                            { w.of(l).Leave(l) }
func (w windows) BeginClaim(l work.Lane) int                   { return w.of(l).BeginClaim(l) }
func (w windows) ClaimedBytes(l work.Lane) int                 { return w.of(l).ClaimedBytes(l) }
func (w windows) AddClaimed(l work.Lane, i *item, size int)    { w.of(l).AddClaimed(l, i, size) }
func (w windows) EndClaim(l work.Lane, wanted, n int, ok bool) { w.of(l).EndClaim(l, wanted, n, ok) }
func (w windows) Spilled(l work.Lane)                          { w.of(l).Spilled(l) }
func (w windows) MarkSpilled(l work.Lane)                      { w.of(l).MarkSpilled(l) }
func (w windows) Slow(l work.Lane) bool                        { return w.of(l).Slow(l) }
