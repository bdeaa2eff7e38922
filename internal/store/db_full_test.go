package store

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"herald"
	"herald/internal/work"
)

// TestFullDiskIsUnavailableAndPasses is fault 7: while the disk is full, the store acknowledges
// nothing and loses nothing. When there is room again, it goes on.
func TestFullDiskIsUnavailableAndPasses(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	pages, err := first(t.Context(), f.write, scanInt, `PRAGMA page_count`)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(pages int64) {
		t.Helper()
		if _, err := first(t.Context(), f.write, scanInt, `PRAGMA max_page_count = `+strconv.FormatInt(pages, 10)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 20)
	var accepted []work.PreparedEvent
	for {
		prepared := f.prepare(f.client, true)
		_, err := f.Accept([]work.PreparedEvent{prepared})
		if err != nil {
			wantCode(t, err, herald.CodeUnavailable)
			var known *herald.Error
			if !errors.As(err, &known) || known.RetryAfter == 0 {
				t.Errorf("%v does not say when to try again", err)
			}
			break
		}
		accepted = append(accepted, prepared)
		if len(accepted) > 10000 {
			t.Fatal("twenty pages hold ten thousand events")
		}
	}
	item := accepted[0].Alerts[0].Items[0]
	result := work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}
	result.Attempt.Response.Body = strings.Repeat("x", 64<<10) // more than the space left
	wantCode(t, f.Record(result), herald.CodeUnavailable)

	limit(1 << 30)
	if err := f.Record(result); err != nil {
		t.Errorf("with room again: %v", err)
	}
	f.accept(f.prepare(f.client, true))
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 20000})
	if err != nil || len(events) != len(accepted)+1 {
		t.Errorf("%d events, %v; want the %d that were acknowledged and one more", len(events), err, len(accepted))
	}
}
