package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
)

// What a poll of tail costs. It asks for the newest deliveries, for one page of what is pending, and for
// single deliveries that have ended. Only a poll with many new deliveries asks for more pages.
const (
	newestPage  = 100 // deliveries in the first page; a quiet poll asks for no more
	tailPage    = 500 // deliveries in each other page, the most that the service gives
	endedAtOnce = 20  // single deliveries in a poll
	// maxFollowed bounds the pending deliveries that are followed to their end, and with them the memory.
	maxFollowed = 10_000
	// lateness is how much later than newer deliveries one may appear in the list. Its id has the time when
	// its event was accepted, which is before it was committed, and the nodes' clocks differ a little.
	lateness = time.Minute
	// longestPause bounds the time between two looks at pending deliveries that do not change.
	longestPause = 10 * time.Second
)

// seen is a delivery that was shown.
type seen struct {
	at       time.Time // the delivery's place in the list
	state    string
	followed bool // it is pending, and is looked at until it ends
}

// pendingRound looks once at each followed delivery, a page of the pending ones in a poll. What is not
// among them has ended.
type pendingRound struct {
	running bool
	after   uuid.UUID
	missing map[uuid.UUID]bool // followed when the round began, and not found yet
	ended   []uuid.UUID        // what was missing at the end of the last round, to be asked for
	next    time.Time          // the next round begins no earlier
	pause   time.Duration      // before the next round, while nothing changes
	full    bool               // it was said that maxFollowed is reached
}

// findPending finds followed deliveries that are still pending.
func (t *tail) findPending(ctx context.Context, found map[uuid.UUID]client.Delivery) error {
	r := &t.pending
	if !r.running {
		if len(r.ended) > 0 || time.Now().Before(r.next) {
			return nil
		}
		r.after, r.missing = uuid.Nil, make(map[uuid.UUID]bool)
		for id, s := range t.seen {
			if s.followed {
				r.missing[id] = true
			}
		}
		r.running = len(r.missing) > 0
	}
	if !r.running {
		return nil
	}
	page, err := t.service.Deliveries(ctx, client.DeliveryFilter{State: herald.Pending.String(), Since: t.Since.Time,
		Cursor: client.Cursor{Limit: tailPage, After: r.after}})
	if err != nil {
		return err
	}
	for _, d := range page.Results {
		if r.missing[d.ID] {
			found[d.ID] = d
			delete(r.missing, d.ID)
		}
	}
	r.after = page.Next
	if page.Next == uuid.Nil || len(r.missing) == 0 {
		r.running = false
		r.ended = slices.SortedFunc(maps.Keys(r.missing), func(a, b uuid.UUID) int { return t.seen[a].at.Compare(t.seen[b].at) })
		r.pause = min(max(2*r.pause, t.Interval), longestPause)
		r.next = time.Now().Add(r.pause)
	}
	return nil
}

// findNew finds deliveries from the newest down to the first page that holds only known ones.
func (t *tail) findNew(ctx context.Context, found map[uuid.UUID]client.Delivery) error {
	filter := client.DeliveryFilter{Since: t.since, Cursor: client.Cursor{Limit: newestPage}}
	for {
		page, err := t.service.Deliveries(ctx, filter)
		if err != nil {
			return err
		}
		anew := len(page.Results) == 0 // the service may answer with an empty page before the last
		for _, d := range page.Results {
			_, known := t.seen[d.ID]
			anew = anew || !known
			found[d.ID] = d
		}
		if !anew || page.Next == uuid.Nil {
			return nil
		}
		filter.After, filter.Limit = page.Next, tailPage
	}
}

// findEnded asks for deliveries that were followed and are no longer pending.
func (t *tail) findEnded(ctx context.Context, found map[uuid.UUID]client.Delivery) error {
	r := &t.pending
	for asked := 0; len(r.ended) > 0 && asked < endedAtOnce; r.ended = r.ended[1:] {
		id := r.ended[0]
		if d, ok := found[id]; ok && d.State != herald.Pending || !t.seen[id].followed {
			continue
		}
		asked++
		d, err := t.service.Delivery(ctx, id)
		var refused *client.Error
		switch {
		case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
			delete(t.seen, id) // it is so old that its history was deleted
		case err != nil:
			return err
		default:
			found[id] = d
		}
	}
	return nil
}

// record marks what was found as seen. It returns what is new or has changed, oldest first, as things happened.
func (t *tail) record(found map[uuid.UUID]client.Delivery) []client.Delivery {
	followed := 0
	for _, s := range t.seen {
		if s.followed {
			followed++
		}
	}
	var changed []client.Delivery
	for id, d := range found {
		old := t.seen[id]
		s := seen{at: madeAt(d), state: fmt.Sprint(d.State, d.AttemptCount)}
		if old.followed {
			followed--
		}
		if s.followed = d.State == herald.Pending && followed < maxFollowed; s.followed {
			followed++
		} else if d.State == herald.Pending && !t.pending.full {
			t.pending.full = true
			fmt.Fprintf(t.out.stderr, "more than %d deliveries are pending: how the others end may not be shown; list them with: herald deliveries list\n", maxFollowed)
		}
		if s.state != old.state {
			changed = append(changed, d)
		}
		t.seen[id] = s
	}
	if len(changed) > 0 {
		t.pending.pause, t.pending.next = 0, time.Time{}
	}
	t.forget(found)
	slices.SortFunc(changed, func(a, b client.Delivery) int {
		return cmp.Or(madeAt(a).Compare(madeAt(b)), slices.Compare(a.ID[:], b.ID[:]))
	})
	return changed
}

// forget drops what has ended and is so old that the list of new deliveries does not hold it any more.
func (t *tail) forget(found map[uuid.UUID]client.Delivery) {
	newest, now := t.since, time.Now()
	for _, d := range found {
		// A node whose clock is ahead does not hide what the others accept.
		if at := madeAt(d); at.After(newest) && at.Before(now) {
			newest = at
		}
	}
	// Whole milliseconds, because the service compares the times in ids.
	if from := newest.Add(-lateness).Truncate(time.Millisecond); from.After(t.since) {
		t.since = from
	}
	for id, s := range t.seen {
		if _, listed := found[id]; !listed && !s.followed && s.at.Before(t.since) {
			delete(t.seen, id)
		}
	}
}
