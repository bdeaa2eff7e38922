// Package clock is the one clock of the program. It follows a reference, the system's clock or
// the database's, but it does not believe a jump of the reference until the jump has lasted.
//
//	the reference is          then the clock
//	────────────────────────  ─────────────────────────────────────────────────────
//	a small step ahead        follows at once
//	a small step behind       runs slower until they agree: it never runs back
//	more than MaxStep off     goes on by elapsed time; after JumpHold it follows
//
// Decisions that cannot be undone, such as deleting history, use Cautious instead of Now. After
// the clock went ahead by more than CautionAfter, Cautious goes on from the time before for
// CautionHold, so that people have a day to notice a wrong clock.
package clock

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// MaxStep is the largest step of the reference that the clock follows at once. A time
	// server corrects by less; a wrong clock is mostly wrong by hours or years.
	MaxStep = time.Minute
	// JumpHold is how long a jump must last before the clock follows it, in elapsed time.
	// It is longer than the interval of the maintenance that makes partitions, so that the
	// partitions of the new time exist by then.
	JumpHold = 15 * time.Minute
	// CautionAfter is how far the clock may go ahead at once, by a jump or over a restart,
	// without caution.
	CautionAfter = time.Hour
	// CautionHold is how long Cautious goes on from the time before.
	CautionHold = 24 * time.Hour
	// logPause is the shortest time between two log lines on jumps: a reference that
	// jumps all the time must not fill the log.
	logPause = time.Minute
)

// Options are the options of New. The zero value is a clock that follows the system's.
type Options struct {
	// Shared says that the reference is the database's clock, which Observe reports. Until
	// the first report the clock is the system's.
	Shared bool
	// Wall returns the system's time. nil means time.Now.
	Wall func() time.Time
	// Elapsed returns the time elapsed since a fixed moment. nil means the system's
	// monotonic clock.
	Elapsed func() time.Duration
	// Log logs jumps. nil discards them.
	Log *slog.Logger
}

// Clock is safe for concurrent use.
type Clock struct {
	Options

	mu       sync.Mutex
	observed bool          // Observe was called; a shared clock has its reference
	now      time.Time     // the clock's time at the moment at
	at       time.Duration // elapsed
	slow     time.Duration // how much the clock must lose to agree with the reference

	jump      time.Duration // how far the reference is ahead of the clock while it is not believed
	jumpSince time.Duration
	followed  int // how many jumps were followed
	loggedAt  time.Duration
	logged    bool

	lag      time.Duration // how far Cautious is behind Now, until lagUntil
	lagUntil time.Duration
}

// New returns a clock.
func New(o Options) *Clock {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Elapsed == nil {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(start) } // uses the monotonic clock
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Clock{Options: o, at: o.Elapsed()}
	c.now = c.wall()
	return c
}

// wall returns the system's time without its monotonic reading: times of this clock are
// compared by what they show.
func (c *Clock) wall() time.Time { return c.Wall().UTC().Round(0) }

// Now returns the time in UTC. It runs back only when it follows a jump back.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.now
}

// Cautious returns the time for decisions that cannot be undone. It is Now or earlier.
func (c *Clock) Cautious() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.now.Add(-c.lag)
}

// Jump returns how far the reference is ahead of the clock while the clock does not believe
// it; less than zero when it is behind, 0 when they agree.
func (c *Clock) Jump() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.jump
}

// Followed returns how many jumps the clock has followed. What was scheduled before one may be due
// too late.
func (c *Clock) Followed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.followed
}

// Observe tells a shared clock a reading of its reference. began is what Elapsed returned
// before the reading was asked for: the reading is as old as that at most.
func (c *Clock) Observe(reading time.Time, began time.Duration) {
	if !c.Shared {
		return
	}
	reading = reading.UTC().Round(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	if !c.observed {
		c.observed, c.now = true, reading
		return
	}
	c.follow(reading, reading.Add(c.at-began))
}

// Remember tells the clock the latest time that the database knows of, at the start. It returns
// how far the clock is ahead of that; less than zero when it is behind. If the clock is ahead by
// more than CautionAfter, Cautious goes on from known.
func (c *Clock) Remember(known time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	gap := c.now.Sub(known)
	if gap > CautionAfter {
		c.lag, c.lagUntil = gap, c.at+CautionHold
	}
	return gap
}

// Trust ends the caution: what the clock shows was confirmed.
func (c *Clock) Trust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lag = 0
}

// advance brings the clock to the present. The caller holds mu.
func (c *Clock) advance() {
	at := c.Elapsed()
	passed := max(at-c.at, 0)
	lost := min(c.slow, passed/2) // half as fast is the slowest
	c.now, c.at, c.slow = c.now.Add(passed-lost), c.at+passed, c.slow-lost
	if c.at >= c.lagUntil {
		c.lag = 0
	}
	if !c.Shared {
		wall := c.wall()
		c.follow(wall, wall)
	}
}

// follow compares the clock with the reference, which lies between two times. The caller holds
// mu and has called advance.
func (c *Clock) follow(earliest, latest time.Time) {
	var off time.Duration
	switch {
	case c.now.Before(earliest):
		off = earliest.Sub(c.now)
	case c.now.After(latest):
		off = latest.Sub(c.now)
	}
	switch {
	case off.Abs() <= MaxStep:
		if c.jump != 0 {
			c.jump = 0
			c.say("the reference clock is back; its jump was not followed", 0, c.now)
		}
		c.slow = max(-off, 0)
		c.now = c.now.Add(max(off, 0))
	case c.jump == 0 || (off-c.jump).Abs() > MaxStep:
		c.jump, c.jumpSince, c.slow = off, c.at, 0
		c.say("the reference clock has jumped; the jump is followed if it lasts", off, c.now.Add(off))
	case c.at-c.jumpSince >= JumpHold:
		c.believe(off)
	default:
		c.jump = off
	}
}

// believe follows a jump that has lasted.
func (c *Clock) believe(off time.Duration) {
	c.logged = false // this line must not be left out
	c.say("the reference clock's jump has lasted and is followed", off, c.now.Add(off))
	c.jump, c.followed = 0, c.followed+1
	if lag := c.lag + off; off > CautionAfter {
		c.lag, c.lagUntil = lag, c.at+CautionHold
	} else if off < 0 {
		c.lag = max(lag, 0)
	}
	c.now = c.now.Add(off)
}

func (c *Clock) say(what string, off time.Duration, reference time.Time) {
	if c.logged && c.at-c.loggedAt < logPause {
		return
	}
	c.logged, c.loggedAt = true, c.at
	c.Log.Warn(what, "jump", off, "used", c.now, "reference", reference)
}
