package store

import (
	"sync"
	"time"
)

// steadyClock is a clock that never goes back. The embedded database takes its due times
// from it. When the system's clock is set back, steadyClock goes on from its last time:
// otherwise retries would wait longer by as much as the clock was set back. When the
// system's clock is set forward, steadyClock follows. Deliveries are due early then, but
// the limits on attempts in flight still apply.
type steadyClock struct {
	// read returns the system's time, and the time elapsed since a fixed moment.
	read func() (wall time.Time, elapsed time.Duration)

	mu sync.Mutex
	// The last time that now returned, and the elapsed time at that moment.
	lastWall    time.Time
	lastElapsed time.Duration
}

func newSteadyClock() *steadyClock {
	start := time.Now()
	return &steadyClock{read: func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start) // uses the monotonic clock
	}}
}

// now returns the time in microseconds since the epoch.
func (c *steadyClock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, elapsed := c.read()
	if continued := c.lastWall.Add(elapsed - c.lastElapsed); continued.After(wall) {
		wall = continued
	}
	c.lastWall, c.lastElapsed = wall, elapsed
	return micros(wall)
}
