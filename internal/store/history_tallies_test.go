package store

import (
	"bytes"
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/work"
)

// prepareAt returns an event whose alert was raised at a time, with one waiting delivery.
func (f *fixture) prepareAt(at time.Time, rule uuid.UUID) work.PreparedEvent {
	f.t.Helper()
	e := f.prepare(f.client, false)
	e.Event.ID = herald.FirstIDAt(at)
	rand.Read(e.Event.ID[9:13]) //nolint:errcheck // it never fails
	e.Event.ID[8] = 0x80
	a := &e.Alerts[0]
	a.ID, a.RuleID = herald.AlertID(e.Event.ID, 1), rule
	a.Items[0].ID, a.Items[0].MadeAt = herald.DeliveryID(a.ID, 0), at
	return e
}

// makeOldPartitions makes the partitions from a time on, on PostgreSQL.
func (f *fixture) makeOldPartitions(from time.Time) {
	f.t.Helper()
	if f.dialect.shared {
		if err := makePartitionsFrom(f.t.Context(), f.write, from, int(time.Since(from)/week)+1); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) tallyAll() {
	f.t.Helper()
	for {
		n, err := f.Tally(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// indexAll writes all whole segments of the index of alerts.
func (f *fixture) indexAll() {
	f.t.Helper()
	for {
		n, err := f.IndexAlerts(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func alertID(e work.PreparedEvent) uuid.UUID { return e.Alerts[0].ID }

// TestEveryPageAndTotalIsAsIfCounted compares pages found by tallies with a plain list: in both
// orders, for a whole client and for one rule, with tallied, late and untallied alerts.
func TestEveryPageAndTotalIsAsIfCounted(t *testing.T) {
	onBoth(t, testEveryPageAndTotalIsAsIfCounted)
}

func testEveryPageAndTotalIsAsIfCounted(t *testing.T, f *fixture) {
	now := time.Now()
	f.makeOldPartitions(now.Add(-40 * time.Hour))
	rules := []uuid.UUID{f.rule.ID, f.newRule(f.client).ID}
	var events []work.PreparedEvent
	raise := func(n int, youngest, oldest time.Duration) {
		var some []work.PreparedEvent
		for range n {
			age := youngest + mathrand.N(oldest-youngest)
			some = append(some, f.prepareAt(now.Add(-age), rules[mathrand.IntN(len(rules))]))
		}
		f.accept(some...)
		events = append(events, some...)
	}
	raise(1800, time.Minute, 36*time.Hour)
	f.tallyAll()
	raise(300, 0, 36*time.Hour) // most of them are late
	raise(300, 0, tallyLag/2)
	slices.SortFunc(events, func(a, b work.PreparedEvent) int { return bytes.Compare(a.Event.ID[:], b.Event.ID[:]) })
	ago := func(d time.Duration) string { return now.Add(-d).UTC().Format(time.RFC3339Nano) }
	for _, test := range []struct {
		rule             uuid.UUID
		oldest, youngest time.Duration // the ends of a span; 0 means none
	}{
		{}, {rule: rules[1]}, {oldest: 30 * time.Hour}, {youngest: 5 * time.Hour}, {oldest: 29*time.Hour + 17*time.Minute, youngest: 40 * time.Minute},
		{oldest: 20 * time.Minute, youngest: 5 * time.Minute}, {oldest: 90 * time.Minute, youngest: 30 * time.Minute},
		{rule: rules[0], oldest: 25 * time.Hour, youngest: time.Hour}, {oldest: 30 * time.Second}, {oldest: time.Hour, youngest: 2 * time.Hour},
	} {
		var (
			want []uuid.UUID
			span []string
		)
		for _, e := range events {
			age := now.Sub(herald.TimeOf(e.Event.ID))
			if (test.rule == uuid.Nil || e.Alerts[0].RuleID == test.rule) && (test.oldest == 0 || age <= test.oldest) && (test.youngest == 0 || age > test.youngest) {
				want = append(want, alertID(e))
			}
		}
		if test.oldest > 0 {
			span = append(span, "raisedOnUtc>="+ago(test.oldest))
		}
		if test.youngest > 0 {
			span = append(span, "raisedOnUtc<"+ago(test.youngest))
		}
		filter := ""
		if len(span) > 0 {
			filter = "&query=" + url.QueryEscape(strings.Join(span, "&&"))
		}
		for _, order := range []string{"id", "-id"} {
			if order == "-id" {
				slices.Reverse(want)
			}
			var got []uuid.UUID
			for page := 1; page == 1 || (page-1)*70 < len(want); page++ {
				l := listOf(t, query.Alerts(), "pageSize=70&orderBy="+order+"&page="+strconv.Itoa(page)+filter)
				alerts, total, err := f.Alerts(t.Context(), f.client.ID, test.rule, uuid.Nil, l)
				if err != nil || total != len(want) {
					t.Fatalf("%+v, page %d: total %d, %v; want %d", test, page, total, err, len(want))
				}
				for _, a := range alerts {
					got = append(got, a.ID)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v, order %s (-want +got):\n%.1000s", test, order, diff)
			}
		}
	}
	l := listOf(t, query.Alerts(), "query=ruleId="+rules[1].String())
	if _, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, l); err != nil || total == 0 || total == len(events) {
		t.Errorf("asked for one rule: %d of %d alerts, %v", total, len(events), err)
	}
}

// TestEachAlertIsCountedOnce commits batches with ids before and after tallied_to while Tally
// moves it.
func TestEachAlertIsCountedOnce(t *testing.T) { onBoth(t, testEachAlertIsCountedOnce) }

func testEachAlertIsCountedOnce(t *testing.T, f *fixture) {
	version, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	const publishers, each = 8, 60
	var publishing, tallying sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			for range each {
				e := f.prepareAt(time.Now().Add(-tallyLag+mathrand.N(200*time.Millisecond)-100*time.Millisecond), f.rule.ID)
				e.ClientVersion = version
				if _, err := f.Accept([]work.PreparedEvent{e}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	tallying.Go(func() {
		for ctx.Err() == nil {
			if _, err := f.Tally(ctx); err != nil && ctx.Err() == nil && herald.CodeOf(err) != herald.CodeUnavailable {
				t.Error(err)
			}
		}
	})
	publishing.Wait()
	stop()
	tallying.Wait()
	_, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), ""))
	if err != nil || total != publishers*each {
		t.Errorf("%d alerts, %v; want %d", total, err, publishers*each)
	}
	tallied, err := first(t.Context(), f.read, scanInt, `SELECT coalesce(CAST(sum(n) AS bigint), 0) FROM tallies`)
	if err != nil || tallied == 0 {
		t.Errorf("%d are tallied (%v): the test proves nothing", tallied, err)
	}
}
