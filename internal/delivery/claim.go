package delivery

import (
	"context"
	"errors"
	"strings"
	"time"

	"herald"
	"herald/internal/work"
)

// The claimer waits for the shortest time after it has claimed something. While there is nothing to
// claim, the wait doubles up to the longest.
const (
	shortestWait = 25 * time.Millisecond
	longestWait  = time.Second
)

// claimer claims from the database what memory has room for: retries that have become due,
// deliveries that were accepted without room, and deliveries of dead nodes.
type claimer struct {
	*Engine
	after      work.Lane   // the last lane that was read; empty at the end of the list
	found      bool        // something was claimed since the first lane
	due        longestDue  // of the lanes since the first one
	scanAfter  time.Time   // when more lanes may be read
	backlogged []work.Lane // lanes among the last ones read that have more to claim
}

// scanShare bounds the time that reading lanes takes: one part in so many. Reading is quick unless
// a long transaction makes PostgreSQL keep deleted rows. Between two scans the claimer then claims
// from the lanes with a known backlog.
const scanShare = 4

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
		claimed, next, err := c.claimOnce(ctx)
		switch {
		case errors.Is(err, work.ErrDeclaredDead):
			wait, next = longestWait, longestWait // the next heartbeat registers this node again, and says so
		case err != nil && ctx.Err() == nil:
			c.Log.Error("due deliveries cannot be claimed", "error", err)
			wait, next = longestWait, longestWait
		case claimed > 0 || c.found:
			wait = shortestWait
		case c.after == (work.Lane{}):
			wait = min(2*wait, longestWait)
		}
		if err == nil && c.after != (work.Lane{}) {
			next = 0 // there are more lanes after this one
		}
		timer.Reset(min(wait, max(next, shortestWait)))
	}
}

func (c *claimer) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// claimOnce reads up to LanesLimit waiting lanes, and claims from those that are due and have room.
// It returns how many deliveries it claimed, and how long until another is due.
func (c *claimer) claimOnce(ctx context.Context) (n int, next time.Duration, err error) {
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
	claims, room := c.reserve(lanes)
	if len(claims) == 0 {
		return 0, next, nil
	}
	claimed, err := c.Store.Claim(ctx, claims, room)
	c.Ended(herald.Failed, claimed.Ended)
	c.addClaimed(claims, claimed, err == nil)
	c.found = c.found || len(claimed.Items) > 0
	return len(claimed.Items), next, err
}

// nextLanes reads more lanes if scanShare allows it. Until then it returns the lanes that are known
// to have more to claim.
func (c *claimer) nextLanes(ctx context.Context) ([]work.WaitingLane, error) {
	wait := time.Until(c.scanAfter)
	if wait <= 0 || len(c.backlogged) == 0 {
		c.pause(wait)
		return c.scan(ctx)
	}
	lanes := make([]work.WaitingLane, len(c.backlogged))
	for i, lane := range c.backlogged {
		lanes[i].Lane = lane
	}
	return lanes, nil
}

// scan reads the lanes after the last one it read. After the last lane it starts again at the
// first.
func (c *claimer) scan(ctx context.Context) ([]work.WaitingLane, error) {
	began, first := time.Now(), c.after == work.Lane{}
	if first {
		c.found = false
	}
	lanes, err := c.Store.Lanes(ctx, c.after)
	if err != nil {
		return nil, err
	}
	c.scanAfter = time.Now().Add((scanShare - 1) * time.Since(began))
	last := len(lanes) < c.Store.LanesLimit()
	if c.after = (work.Lane{}); !last {
		c.after = lanes[len(lanes)-1].Lane
	}
	c.scanned(&c.due, lanes, first, last)
	return lanes, nil
}

// reserve takes room in the window for claims on the lanes that are due. It returns the bytes that
// all of them may bring: those that they took, by the expected sizes, and those that are free.
func (c *claimer) reserve(lanes []work.WaitingLane) (claims []work.Claim, room int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.backlogged = c.backlogged[:0]
	for _, l := range lanes {
		if l.DueIn > 0 || strings.HasPrefix(l.Origin, work.DigestLanePrefix) {
			continue
		}
		if n := c.window.BeginClaim(l.Lane); n > 0 {
			claim := work.Claim{Lane: l.Lane, N: n, Bytes: c.window.ClaimedBytes(l.Lane)}
			room += claim.Bytes
			claims = append(claims, claim)
		} else {
			c.backlogged = append(c.backlogged, l.Lane)
		}
	}
	return claims, room + c.window.FreeBytes()
}

// addClaimed puts the claimed deliveries into the window and releases the room that the claims did
// not use. A lane with fewer deliveries than the claim asked for is drained: memory may take its
// new deliveries again. A lane with deliveries that were too large for now is not drained.
func (c *claimer) addClaimed(claims []work.Claim, claimed work.Claimed, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Stop waits for this loop and then for returns.
	if unsent := claimed.Items; len(unsent) > 0 && (c.stopping || unsent[0].Node < c.incarnation) {
		c.returns.Go(func() { c.returnUnsent(unsent) })
		claimed.Items, ok = nil, false
	}
	added := make(map[work.Lane]int, len(claims))
	for _, d := range claimed.Items {
		i := &item{Item: d}
		added[i.Lane()]++
		c.held[i.ID] = i
		c.window.AddClaimed(i.Lane(), i, size(&d))
	}
	for _, claim := range claims {
		left := claimed.Left[claim.Lane]
		if left {
			c.window.MarkSpilled(claim.Lane)
		}
		c.window.EndClaim(claim.Lane, claim.N, added[claim.Lane], ok)
		c.letGo(claim.Client)
		if left || added[claim.Lane] == claim.N {
			c.backlogged = append(c.backlogged, claim.Lane)
		}
	}
	c.startReady()
}

// findBacklog reads all waiting lanes, so that new deliveries do not overtake those that were due
// before the node started.
func (c *claimer) findBacklog(ctx context.Context) error {
	for {
		lanes, err := c.scan(ctx)
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
		if c.after == (work.Lane{}) {
			return nil
		}
	}
}
