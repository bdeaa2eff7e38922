package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// tailedService lists its deliveries as the service does: newest first, in pages, with the filters of tail.
type tailedService struct {
	polls      sync.Mutex
	passed     time.Duration
	deliveries []client.Delivery // newest last
	added      int
	lists      int
	single     int
}

func (s *tailedService) add(n int, state herald.State, at time.Time) {
	for range n {
		d := client.Delivery{}
		s.added++
		binary.BigEndian.PutUint64(d.ID[:], uint64(s.added))
		d.State, d.RaisedAt = state, at
		s.deliveries = append(s.deliveries, d)
	}
}

func (s *tailedService) Deliveries(ctx context.Context, f client.DeliveryFilter) (client.Page[client.Delivery], error) {
	s.polls.Lock()
	defer s.polls.Unlock()
	s.lists++
	var page client.Page[client.Delivery]
	before := f.After == uuid.Nil
	for i := range s.deliveries {
		d := &s.deliveries[len(s.deliveries)-1-i]
		switch {
		case !before:
			before = d.ID == f.After
		case d.RaisedAt.Before(f.Since) || f.State != "" && f.State != d.State.String():
		case len(page.Results) == f.Limit:
			page.Next = page.Results[f.Limit-1].ID
			return page, ctx.Err()
		default:
			page.Results = append(page.Results, *d)
		}
	}
	return page, ctx.Err()
}

func (s *tailedService) Delivery(ctx context.Context, id uuid.UUID) (client.Delivery, error) {
	s.single++
	if i := slices.IndexFunc(s.deliveries, func(d client.Delivery) bool { return d.ID == id }); i >= 0 {
		return s.deliveries[i], ctx.Err()
	}
	return client.Delivery{}, &client.Error{StatusCode: http.StatusNotFound}
}

// asked returns how many lists and single deliveries were asked for since the last call.
func (s *tailedService) asked() string {
	defer func() { s.lists, s.single = 0, 0 }()
	return fmt.Sprint(s.lists, " lists, ", s.single, " single")
}

// startTail tails a service until the test ends. shown returns what was printed since its last call.
func startTail(t *testing.T, service tailed) (shown func() []client.Delivery, errs *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	errs = new(bytes.Buffer)
	c := &tailCommand{connection: connection{Output: cli.JSONL}, Since: cli.Moment{Time: time.Now().Add(-10 * time.Minute)}, Interval: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.follow(ctx, service, &streams{strings.NewReader(""), &out, errs}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("tail ended with %v", err)
		}
	})
	return func() (found []client.Delivery) {
		synctest.Wait()
		for line := range strings.Lines(out.String()) {
			var d client.Delivery
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			found = append(found, d)
		}
		out.Reset()
		return found
	}, errs
}

// pass lets time of the bubble's clock pass, and the poll at its end come to its end. What the test did
// before happens before the next poll.
func (s *tailedService) pass(d time.Duration) {
	s.polls.Lock()
	s.passed += d
	s.polls.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

// TestPollCostsWhatIsNew with 10,000 deliveries in the time that tail looks back.
func TestPollCostsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &tailedService{}
		service.add(10_000, herald.Delivered, time.Now().Add(-5*time.Second))
		shown, _ := startTail(t, service)
		if n := len(shown()); n != 10_000 {
			t.Fatalf("shows %d at first, want all", n)
		}
		service.asked()
		service.pass(time.Second)
		if asked := service.asked(); asked != "1 lists, 0 single" || len(shown()) != 0 {
			t.Errorf("a poll without changes asks for %s", asked)
		}
		service.add(250, herald.Delivered, time.Now())
		service.pass(time.Second)
		if asked := service.asked(); asked != "3 lists, 0 single" { // new, the last new, known
			t.Errorf("a poll with 250 new deliveries asks for %s", asked)
		}
		if n := len(shown()); n != 250 {
			t.Errorf("shows %d of 250 new deliveries", n)
		}
	})
}

// TestPollOfABacklogIsBounded while 3,000 deliveries wait and then end at once; each end is shown once.
func TestPollOfABacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &tailedService{}
		service.add(3_000, herald.Pending, time.Now().Add(-5*time.Second))
		shown, _ := startTail(t, service)
		if n := len(shown()); n != 3_000 {
			t.Fatalf("shows %d at first, want all", n)
		}
		service.asked()
		for range 60 {
			service.pass(time.Second)
			if asked := service.asked(); asked != "2 lists, 0 single" && asked != "1 lists, 0 single" {
				t.Fatalf("a poll asks for %s while 3,000 wait", asked)
			}
		}
		for i := range service.deliveries {
			service.deliveries[i].State, service.deliveries[i].AttemptCount = herald.Failed, 4
		}
		ends := make(map[uuid.UUID]int)
		for range 200 {
			service.pass(time.Second)
			if service.lists > 2 || service.single > endedAtOnce {
				t.Fatalf("a poll asks for %s", service.asked())
			}
			service.asked()
			for _, d := range shown() {
				ends[d.ID]++
			}
		}
		if len(ends) != 3_000 {
			t.Errorf("the end of %d of 3,000 was shown", len(ends))
		}
		for id, n := range ends {
			if n != 1 {
				t.Fatalf("the end of %v was shown %d times", id, n)
			}
		}
	})
}

// TestLateEndIsShown of deliveries that are retried for 30 minutes and for 3 hours, while others come and go.
func TestLateEndIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &tailedService{}
		service.add(3, herald.Pending, time.Now())
		shown, errs := startTail(t, service)
		if n := len(shown()); n != 3 {
			t.Fatalf("shows %d at first, want 3", n)
		}
		others := func(d time.Duration) {
			for range d / time.Minute {
				service.add(150, herald.Delivered, time.Now())
				service.pass(time.Minute)
			}
		}
		want := func(n int, state herald.State, attempts int) {
			t.Helper()
			service.pass(longestPause + 2*time.Second)
			for _, d := range shown() {
				if d.ID == service.deliveries[n].ID && d.State == state && d.AttemptCount == attempts {
					return
				}
			}
			t.Errorf("delivery %d is not shown as %v after %d attempts", n, state, attempts)
		}
		others(30 * time.Minute)
		service.deliveries[0].State, service.deliveries[0].AttemptCount = herald.Delivered, 4
		service.deliveries[1].AttemptCount = 4
		want(0, herald.Delivered, 4)
		others(2*time.Hour + 30*time.Minute)
		service.deliveries[1].State, service.deliveries[1].AttemptCount = herald.Failed, 5
		want(1, herald.Failed, 5)
		service.deliveries = service.deliveries[3:] // the history of the third is deleted
		others(time.Minute)
		service.asked()
		service.pass(time.Minute)
		if asked := service.asked(); asked != "60 lists, 0 single" || errs.Len() > 0 {
			t.Errorf("after a delivery is gone, a minute asks for %s (%s)", asked, errs)
		}
	})
}

// TestTailSaysThatItFollowsNoMore, once, when more deliveries are pending than it follows.
func TestTailSaysThatItFollowsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &tailedService{}
		service.add(maxFollowed, herald.Pending, time.Now())
		shown, errs := startTail(t, service)
		if n := len(shown()); n != maxFollowed || errs.Len() > 0 {
			t.Fatalf("shows %d, and says %q", n, errs)
		}
		service.add(2, herald.Pending, time.Now())
		service.pass(5 * time.Second)
		if n := len(shown()); n != 2 || strings.Count(errs.String(), "more than 10000 deliveries are pending") != 1 {
			t.Errorf("shows %d of 2 more, and says %q; want one line", n, errs)
		}
		service.pass(5 * time.Minute)
		if n := len(shown()); n != 0 || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("shows %d again, and says %q", n, errs)
		}
	})
}
