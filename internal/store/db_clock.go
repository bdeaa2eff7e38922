package store

import (
	"sync"
	"time"
)

// steadyClock tells the time for the embedded database, where due times are this
// machine's. When the system's clock is set back, it goes on from where it was:
// retries would wait for as long as the clock was set back by. When it is set
// forward, it follows: what that makes due early is bounded in flight as ever.
type steadyClock struct {
	// read returns the system's time and, from any beginning, the time that has
	// gone by.
	read func() (wall time.Time, elapsed time.Duration)

	mu   sync.Mutex
	wall time.Time // the last that was told, and what had gone by then
	at   time.Duration
}

func newSteadyClock() *steadyClock {
	began := time.Now()
	return &steadyClock{read: func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(began) // a difference of monotonic readings
	}}
}

// now returns microseconds since the epoch.
func (c *steadyClock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, elapsed := c.read()
	if goneOn := c.wall.Add(elapsed - c.at); goneOn.After(wall) {
		wall = goneOn
	}
	c.wall, c.at = wall, elapsed
	return micros(wall)
}
