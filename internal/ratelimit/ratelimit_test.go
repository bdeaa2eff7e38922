package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
)

// callers reads the key as the client's id; "operator" is the operator's key.
type callers struct{}

func (callers) Caller(r *http.Request) (herald.Caller, error) {
	switch key := r.Header.Get("Authorization"); key {
	case "":
		return herald.Caller{}, herald.Errorf(herald.CodeUnauthorized, "Unauthorized")
	case "operator":
		return herald.Caller{Operator: true}, nil
	default:
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: uuid.MustParse(key)}}, nil
	}
}

func call(l *Limiter, key string) error {
	r := httptest.NewRequest("GET", "/rules", nil)
	r.Header.Set("Authorization", key)
	_, err := l.Caller(r)
	return err
}

func TestWindowEndsAndBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, acme, rival := New(callers{}, 2, time.Minute), uuid.New(), uuid.New()
		begun := time.Now()
		for _, step := range []struct {
			wait      time.Duration
			client    uuid.UUID
			remaining int
			ends      time.Duration
			ok        bool
		}{
			{0, acme, 1, time.Minute, true},
			{10 * time.Second, acme, 0, time.Minute, true},
			{0, rival, 1, 70 * time.Second, true}, // a window of its own
			{0, acme, 0, time.Minute, false},
			{49 * time.Second, acme, 0, time.Minute, false}, // refused ones do not prolong it
			{time.Second, acme, 1, 2 * time.Minute, true},
			{0, rival, 0, 70 * time.Second, true},
			{0, rival, 0, 70 * time.Second, false},
		} {
			time.Sleep(step.wait)
			remaining, ends, ok := l.take(step.client, time.Now())
			if remaining != step.remaining || ends.Sub(begun) != step.ends || ok != step.ok {
				t.Errorf("after %v: %d left until %v, %v; want %+v", time.Since(begun), remaining, ends.Sub(begun), ok, step)
			}
		}
	})
}

func TestOnlyClientsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, acme := New(callers{}, 1, time.Minute), uuid.NewString()
		for range 3 {
			if err := call(l, "operator"); err != nil {
				t.Errorf("the operator: %v", err)
			}
			if err := call(l, ""); herald.CodeOf(err) != herald.CodeUnauthorized {
				t.Errorf("nobody: %v", err)
			}
		}
		if err := call(l, acme); err != nil {
			t.Error(err)
		}
		time.Sleep(59*time.Second + 999*time.Millisecond)
		err := call(l, acme)
		known, ok := err.(*herald.Error)
		if !ok || known.Code != herald.CodeTooMany || known.RetryAfter != time.Millisecond {
			t.Errorf("%v, want CodeTooMany for a millisecond", err)
		}
		if len(l.clients) != 1 {
			t.Errorf("%d clients are known, want 1", len(l.clients))
		}
	})
}

func TestClientsWhoseWindowIsOverAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(callers{}, 1, time.Minute)
		for range 1000 {
			l.take(uuid.New(), time.Now())
			time.Sleep(time.Second)
		}
		if len(l.clients) > 120 {
			t.Errorf("%d clients are known; those of two windows are at most 120", len(l.clients))
		}
	})
}

func TestAtOnceNoMoreThanTheLimitPass(t *testing.T) {
	l, acme := New(callers{}, 100, time.Hour), uuid.NewString()
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if call(l, acme) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 100 {
		t.Errorf("%d passed, want 100", n)
	}
}

// TestPortalsPublishesCountInTheClientsWindow: with those of its keys. The operator's do not, nor do other clients'.
func TestPortalsPublishesCountInTheClientsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, rival := uuid.New(), uuid.New()
		p := &raised{begun: time.Now()}
		counted := &counted{}
		l := New(callers{}, 2, time.Minute).WithEvents(NewEvents(p, always, nil))
		publisher := l.Limited(counted)
		publish := func(by herald.Caller) error {
			_, err := publisher.Publish(t.Context(), by, nil)
			return err
		}
		byKey, byLink := herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: acme}}, herald.Caller{Key: herald.Key{ClientID: acme}}
		if err := publish(byKey); err != nil {
			t.Error(err)
		}
		if err := call(l, acme.String()); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		api := call(l, acme.String())
		for _, by := range []herald.Caller{byKey, byLink} {
			err := publish(by)
			var refused *herald.Error
			if !errors.As(err, &refused) || refused.Code != herald.CodeTooMany || refused.RetryAfter != 40*time.Second || err.Error() != api.Error() {
				t.Errorf("over the limit: %v; POST /events says %v", err, api)
			}
		}
		if n := len(l.events.queue); n != 1 {
			t.Errorf("the client hears %d times that its limit is reached", n)
		}
		if err := errors.Join(publish(herald.Caller{Operator: true}), publish(herald.Caller{Key: herald.Key{ClientID: rival}})); err != nil || counted.n != 3 {
			t.Errorf("%v; %d were published", err, counted.n)
		}
		time.Sleep(40 * time.Second)
		if err := publish(byLink); err != nil {
			t.Errorf("in the next window: %v", err)
		}
	})
}

// counted is a Publisher that counts.
type counted struct{ n int }

func (c *counted) Publish(context.Context, herald.Caller, []herald.Publication) ([]herald.Receipt, error) {
	c.n++
	return nil, nil
}
