package delivery

import (
	"context"
	"strings"
	"time"

	"herald"
)

// How long the claimer waits between two looks into the database: short after
// it found something, longer and longer while there is nothing.
const (
	shortestWait = 25 * time.Millisecond
	longestWait  = time.Second
)

// claimer takes from the database what memory has room for: retries that have
// become due, what was accepted without room, and what a dead node left.
type claimer struct {
	*Engine
	after herald.Lane   // how far through the lanes it is
	found bool          // whether it claimed anything since it began with the first lane
	rest  time.Time     // when it may walk on
	deep  []herald.Lane // that have more to claim, of those looked at last
}

// walkShare is which part of its time, one in so many, the claimer walks through
// lanes. A walk is short, unless a long snapshot makes PostgreSQL keep rows that
// are gone; then the lanes that are known to be deep are claimed from in between.
const walkShare = 4

func (c *claimer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := shortestWait; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.wake:
		}
		if c.isStopping() {
			return
		}
		claimed, next, err := c.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			c.Log.Error("look for due deliveries", "error", err)
			wait = longestWait
		case claimed > 0 || c.found:
			wait = shortestWait
		case c.after == (herald.Lane{}):
			wait = min(2*wait, longestWait)
		}
		if c.after != (herald.Lane{}) {
			next = 0 // there is more, further on
		}
		timer.Reset(min(wait, max(next, shortestWait)))
	}
}

func (c *claimer) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// look goes once through up to LanesLimit lanes that wait, claims from those
// that are due and have room, and returns how many deliveries it claimed and
// how long until another is due.
func (c *claimer) look(ctx context.Context) (claimed int, next time.Duration, err error) {
	lanes, err := c.nextLanes(ctx)
	if err != nil {
		return 0, longestWait, err
	}
	next = longestWait
	for _, l := range lanes {
		if l.DueIn > 0 {
			next = min(next, l.DueIn)
		}
	}
	wants := c.admit(lanes)
	if len(wants) == 0 {
		return 0, next, nil
	}
	due, err := c.Store.Claim(ctx, wants)
	c.take(wants, due, err == nil)
	c.found = c.found || len(due) > 0
	return len(due), next, err
}

// nextLanes walks on, after its rest; if there are lanes that are known to have
// more, it spends the rest on them.
func (c *claimer) nextLanes(ctx context.Context) ([]herald.WaitingLane, error) {
	rest := time.Until(c.rest)
	if rest <= 0 || len(c.deep) == 0 {
		c.pause(rest)
		return c.walk(ctx)
	}
	deep := make([]herald.WaitingLane, len(c.deep))
	for i, lane := range c.deep {
		deep[i].Lane = lane
	}
	return deep, nil
}

// walk reads the lanes behind the last ones it read, and begins again after the
// end.
func (c *claimer) walk(ctx context.Context) ([]herald.WaitingLane, error) {
	began := time.Now()
	if c.after == (herald.Lane{}) {
		c.found = false
	}
	lanes, err := c.Store.Lanes(ctx, c.after)
	if err != nil {
		return nil, err
	}
	c.rest = time.Now().Add((walkShare - 1) * time.Since(began))
	if len(lanes) < c.Store.LanesLimit() {
		c.after = herald.Lane{}
	} else {
		c.after = lanes[len(lanes)-1].Lane
	}
	return lanes, nil
}

// admit reserves room for what is to be claimed of the lanes that are due.
func (c *claimer) admit(lanes []herald.WaitingLane) []herald.Want {
	c.mu.Lock()
	defer c.mu.Unlock()
	var wants []herald.Want
	c.deep = c.deep[:0]
	for _, l := range lanes {
		if l.DueIn > 0 || strings.HasPrefix(l.Origin, herald.DigestOrigin) {
			continue
		}
		if n := c.window.BeginClaim(l.Lane); n > 0 {
			wants = append(wants, herald.Want{Lane: l.Lane, N: n})
		} else {
			c.deep = append(c.deep, l.Lane)
		}
	}
	return wants
}

// take puts what was claimed into the window and gives back the room of what
// was not there. A lane that had less than was wanted is drained: fresh work of
// it may be kept in memory again.
func (c *claimer) take(wants []herald.Want, due []herald.Due, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := make(map[herald.Lane]int, len(wants))
	for _, d := range due {
		i := &item{Due: d}
		taken[i.lane()]++
		c.held[i.ID] = i
		c.window.AddClaimed(i.lane(), i, size(&d))
	}
	for _, want := range wants {
		c.window.EndClaim(want.Lane, want.N, taken[want.Lane], ok)
		if taken[want.Lane] == want.N {
			c.deep = append(c.deep, want.Lane)
		}
	}
	c.pump()
}

// findBacklog goes through all lanes that wait, so that fresh work does not
// overtake what was due before the node started.
func (c *claimer) findBacklog(ctx context.Context) error {
	for {
		lanes, err := c.walk(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		for _, l := range lanes {
			if l.DueIn <= 0 {
				c.window.MarkSpilled(l.Lane)
			}
		}
		c.mu.Unlock()
		if c.after == (herald.Lane{}) {
			return nil
		}
	}
}
