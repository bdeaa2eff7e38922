package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
)

// raised is a Publisher that records what it gets, with the time since begun.
type raised struct {
	begun  time.Time
	events []string
	err    error
	takes  time.Duration // for each event
}

func (p *raised) Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(p.takes):
	}
	if !caller.Operator || len(pubs) != 1 {
		return nil, errors.New("not the operator's, or not one")
	}
	p.events = append(p.events, fmt.Sprintf("%v %s %s", time.Since(p.begun), pubs[0].Type, pubs[0].Data))
	return nil, p.err
}

// run starts a Limiter of two requests in a minute with its events. stop ends them.
func run(t *testing.T, p *raised, rules Rules) (l *Limiter, log *bytes.Buffer, stop func()) {
	t.Helper()
	p.begun, log = time.Now(), new(bytes.Buffer)
	e := NewEvents(p, rules, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()
	return New(callers{}, 2, time.Minute).WithEvents(e), log, func() { cancel(); <-ended }
}

func always(context.Context, uuid.UUID, string) (bool, error) { return true, nil }

func TestLimitIsToldOnceWhenReachedAndOnceWhenReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, acme := new(raised), uuid.NewString()
		l, log, stop := run(t, p, always)
		for range 2 { // windows
			for range 50 {
				_ = call(l, acme)
				time.Sleep(time.Second)
			}
			time.Sleep(20 * time.Second)
		}
		third := call(l, acme) // a third window, in which the limit is not reached
		time.Sleep(5 * time.Minute)
		stop()
		expires := func(window time.Duration) string { return p.begun.Add(window).UTC().Format(timeFormat) }
		reset := `{"QuotaRemaining":2,"ResetReason":"The quota was reset because its rate window has ended.","DailyQuota":2,"ExpiresUtc":null}`
		want := []string{
			`2s Rate Limit Reached {"DailyQuota":2,"ExpiresUtc":"` + expires(time.Minute) + `"}`, `1m0s Rate Limit Reset ` + reset,
			`1m12s Rate Limit Reached {"DailyQuota":2,"ExpiresUtc":"` + expires(130*time.Second) + `"}`, `2m10s Rate Limit Reset ` + reset,
		}
		if !slices.Equal(p.events, want) || third != nil || log.Len() > 0 {
			t.Errorf("%v; raised\n%s\nwant\n%s\nlog %s", third, strings.Join(p.events, "\n"), strings.Join(want, "\n"), log)
		}
	})
}

func TestLimitIsToldOnlyToClientsWithRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, acme, rival := new(raised), uuid.NewString(), uuid.NewString()
		l, log, stop := run(t, p, func(_ context.Context, client uuid.UUID, eventType string) (bool, error) {
			return client.String() == acme && eventType == resetType, nil
		})
		for range 3 {
			_, _ = call(l, acme), call(l, rival)
		}
		time.Sleep(2 * time.Minute)
		stop()
		if len(p.events) != 1 || !strings.HasPrefix(p.events[0], "1m0s Rate Limit Reset ") || log.Len() > 0 {
			t.Errorf("raised %q, log %s", p.events, log)
		}
	})
}

// TestManyClientsAtTheirLimit: requests do not wait for events, however slowly those are published.
// What does not fit the memory is lost and logged.
func TestManyClientsAtTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &raised{takes: time.Second}
		l, log, stop := run(t, p, always)
		const clients = maxQueued + 50
		for range clients {
			key := uuid.NewString()
			for range 5 {
				_ = call(l, key)
			}
		}
		if time.Since(p.begun) != 0 {
			t.Errorf("the requests took %v", time.Since(p.begun))
		}
		time.Sleep(2 * time.Hour)
		stop()
		lost := strings.Count(log.String(), "is lost")
		if n := len(p.events); n != 2*(clients-lost) || lost < 40 || lost > 50 {
			t.Errorf("%d clients: %d events, %d lost", clients, n, lost)
		}
	})
}

func TestWindowsWaitedForAreBounded(t *testing.T) {
	var log bytes.Buffer
	e := NewEvents(new(raised), always, slog.New(slog.NewTextHandler(&log, nil)))
	begun := time.Now()
	for i := range maxWaiting + 10 {
		e.wait(window{uuid.New(), 1, begun.Add(time.Duration((i*7919)%maxWaiting) * time.Second)})
	}
	if len(e.waiting) != maxWaiting || strings.Count(log.String(), "is lost") != 10 {
		t.Errorf("%d wait, %d are lost", len(e.waiting), strings.Count(log.String(), "is lost"))
	}
	if !slices.IsSortedFunc(e.waiting, func(a, b window) int { return b.ends.Compare(a.ends) }) {
		t.Error("they are not in the order of their ends")
	}
}

// TestEventsThatCannotBeRaisedAreLogged and keep no other event, and no request, from passing.
func TestEventsThatCannotBeRaisedAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, acme := &raised{err: errors.New("the disk is full")}, uuid.NewString()
		l, log, stop := run(t, p, always)
		reach := func() {
			for range 4 {
				_ = call(l, acme)
			}
			synctest.Wait()
		}
		reach()
		time.Sleep(time.Minute)
		synctest.Wait()
		p.err = nil
		reach()
		stop() // before the second window ends
		if n := strings.Count(log.String(), "the disk is full"); n < 1 || len(p.events) != 3 || !strings.Contains(log.String(), "the service stops") {
			t.Errorf("events %q, log %s", p.events, log)
		}
	})
}

func TestStopDoesNotWaitForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, acme := &raised{takes: time.Hour}, uuid.NewString()
		l, log, stop := run(t, p, always)
		for range 4 {
			_ = call(l, acme)
		}
		synctest.Wait()
		stop()
		if took := time.Since(p.begun); took != 0 || !strings.Contains(log.String(), "is lost") {
			t.Errorf("the stop took %v, log %s", took, log)
		}
	})
}
