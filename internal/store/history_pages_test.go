package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
	"herald/internal/query"
)

// TestPageOfAlertsIsBoundedByBytes: the error names a size that fits, and the alerts of one event
// share its data.
func TestPageOfAlertsIsBoundedByBytes(t *testing.T) { onBoth(t, testPageOfAlertsIsBoundedByBytes) }

func testPageOfAlertsIsBoundedByBytes(t *testing.T, f *fixture) {
	const size = 1 << 20
	f.accept(f.prepareLarge(size, 40))
	for _, parameters := range []string{"", "query=" + url.QueryEscape("message~failed")} {
		_, _, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), parameters))
		wantCode(t, err, herald.CodeInvalid)
		if !strings.Contains(err.Error(), "40 results") || !strings.Contains(err.Error(), "16777216") {
			t.Errorf("%q: error %v, want the number of results and the largest page", parameters, err)
		}
		_, fits, _ := strings.Cut(err.Error(), "pageSize=")
		fits, _, _ = strings.Cut(fits, " ")
		if n, err := strconv.Atoi(fits); err != nil || n < 8 || n > 16 {
			t.Fatalf("%q: pageSize=%s is said to fit", parameters, fits)
		}
		var reserved int64
		ctx := memory.WithReserve(t.Context(), func(n int64) error { reserved += n; return nil })
		alerts, total, err := f.Alerts(ctx, f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), parameters+"&pageSize="+fits))
		if err != nil || strconv.Itoa(len(alerts)) != fits || total != 40 {
			t.Fatalf("%q, pageSize=%s: %d alerts of %d, %v", parameters, fits, len(alerts), total, err)
		}
		for _, a := range alerts {
			if len(a.Data) != size || &a.Data[0] != &alerts[0].Data[0] {
				t.Fatalf("alert %s has its own data of %d bytes", a.ID, len(a.Data))
			}
		}
		if reserved < int64(len(alerts)*size) {
			t.Errorf("%d bytes were reserved for %d alerts of %d", reserved, len(alerts), size)
		}
	}
}

// TestDataOfAnyLengthIsListed: small data comes with its alert, large data after it.
func TestDataOfAnyLengthIsListed(t *testing.T) { onBoth(t, testDataOfAnyLengthIsListed) }

func testDataOfAnyLengthIsListed(t *testing.T, f *fixture) {
	want := make(map[uuid.UUID]string)
	add := func(data []byte) {
		prepared := f.prepare(f.client, false)
		prepared.Event.Data = data
		f.accept(prepared)
		want[prepared.Alerts[0].ID] = string(data)
	}
	add(nil)
	for _, size := range []int{2, smallData - 1, smallData, smallData + 1, 50_000} {
		add([]byte(`"` + strings.Repeat("x", size-2) + `"`))
	}
	for n := range 2*dataChunk + 1 {
		add(fmt.Appendf(nil, `"%05d%s"`, n, strings.Repeat("y", smallData)))
	}
	alerts, _, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "pageSize=1000"))
	if err != nil || len(alerts) != len(want) {
		t.Fatalf("%d alerts, %v; want %d", len(alerts), err, len(want))
	}
	for _, a := range alerts {
		one, err := f.Alert(t.Context(), f.client.ID, a.ID)
		if err != nil || string(a.Data) != want[a.ID] || string(one.Data) != want[a.ID] {
			t.Errorf("alert %s has data of %d bytes in the list and %d alone, %v; want %d", a.ID, len(a.Data), len(one.Data), err, len(want[a.ID]))
		}
	}
}

// TestEventHasItsAlertsWithoutData: an event on 1,000 rules took a gigabyte to answer.
func TestEventHasItsAlertsWithoutData(t *testing.T) { onBoth(t, testEventHasItsAlertsWithoutData) }

func testEventHasItsAlertsWithoutData(t *testing.T, f *fixture) {
	prepared := f.prepareLarge(1<<20, 1000)
	f.accept(prepared)
	event, alerts, err := f.Event(t.Context(), f.client.ID, prepared.Event.ID)
	if err != nil || len(event.Data) != 1<<20 || len(alerts) != 1000 {
		t.Fatalf("%d bytes and %d alerts, %v", len(event.Data), len(alerts), err)
	}
	for i, a := range alerts {
		if a.Data != nil || a.ID != prepared.Alerts[i].ID || a.RuleID != f.rule.ID {
			t.Fatalf("alert %d: %s of rule %s with data of %d bytes", i, a.ID, a.RuleID, len(a.Data))
		}
	}
}

// TestPagesWithCursorsEndWhereTheyAreFull walks lists of large items: each is listed once.
func TestPagesWithCursorsEndWhereTheyAreFull(t *testing.T) {
	onBoth(t, testPagesWithCursorsEndWhereTheyAreFull)
}

func testPagesWithCursorsEndWhereTheyAreFull(t *testing.T, f *fixture) {
	for range 10 {
		f.accept(f.prepareLarge(1<<20, 1))
	}
	var events, pages int
	for after, more := uuid.Nil, true; more; pages++ {
		found, next, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{After: after, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, e := range found {
			bytes += len(e.Data)
		}
		if bytes > maxCursorPage || len(found) == 0 {
			t.Fatalf("a page has %d events of %d bytes", len(found), bytes)
		}
		events += len(found)
		after, more = next, next != uuid.Nil
	}
	if events != 10 || pages != 4 {
		t.Errorf("%d events on %d pages, want 10 on 4", events, pages)
	}

	large := herald.Profile{Name: "Acme"}
	for range 100 {
		large.WhiteListURLs = append(large.WhiteListURLs, "https://acme.example/"+strings.Repeat("x", 2000))
	}
	want := 0
	for n := range 20 {
		large.IconURL = fmt.Sprintf("https://acme.example/%d.png", n)
		if err := f.SaveProfile(t.Context(), operator, f.client.ID, large); err != nil {
			t.Fatal(err)
		}
		want++
	}
	got := 0
	pages = 0
	for after, more := uuid.Nil, true; more; pages++ {
		found, next, err := f.Changes(t.Context(), f.client.ID, herald.ChangeFilter{After: after, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, c := range found {
			bytes += len(c.Before) + len(c.After)
			if c.Action == herald.ProfileUpdated {
				got++
			}
		}
		if bytes > maxCursorPage || len(found) == 0 {
			t.Fatalf("a page has %d changes of %d bytes", len(found), bytes)
		}
		after, more = next, next != uuid.Nil
	}
	if got != want || pages < 2 {
		t.Errorf("%d changes of the profile on %d pages, want %d on at least 2", got, pages, want)
	}
}

// TestAnswersTakeMemoryBeforeTheyAreMade: each read for an answer asks for memory, and fails if
// there is none.
func TestAnswersTakeMemoryBeforeTheyAreMade(t *testing.T) {
	onBoth(t, testAnswersTakeMemoryBeforeTheyAreMade)
}

func testAnswersTakeMemoryBeforeTheyAreMade(t *testing.T, f *fixture) {
	prepared := f.prepareLarge(100<<10, 1)
	f.accept(prepared)
	alert := prepared.Alerts[0].ID
	full := errors.New("no memory")
	ctx := memory.WithReserve(t.Context(), func(n int64) error {
		if n <= 0 {
			return nil
		}
		return full
	})
	for name, read := range map[string]func(context.Context) error{
		"alerts": func(ctx context.Context) error {
			_, _, err := f.Alerts(ctx, f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), ""))
			return err
		},
		"alert": func(ctx context.Context) error { _, err := f.Alert(ctx, f.client.ID, alert); return err },
		"events": func(ctx context.Context) error {
			_, _, err := f.Events(ctx, f.client.ID, herald.EventFilter{Limit: 10})
			return err
		},
		"event": func(ctx context.Context) error { _, _, err := f.Event(ctx, f.client.ID, prepared.Event.ID); return err },
		"rules": func(ctx context.Context) error {
			_, _, err := f.Rules(ctx, f.client.ID, uuid.Nil, listOf(t, query.Rules(), ""))
			return err
		},
		"deliveries": func(ctx context.Context) error {
			_, _, err := f.Deliveries(ctx, f.client.ID, herald.DeliveryFilter{Limit: 10})
			return err
		},
		"body": func(ctx context.Context) error {
			_, err := f.DeliveryBody(ctx, f.client.ID, herald.DeliveryID(alert, 0))
			return err
		},
		"changes": func(ctx context.Context) error {
			_, _, err := f.Changes(ctx, f.client.ID, herald.ChangeFilter{Limit: 10})
			return err
		},
	} {
		if err := read(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := read(ctx); !errors.Is(err, full) {
			t.Errorf("%s without memory: %v", name, err)
		}
	}
}

// TestRuleOfZerosFindsNoAlerts: nothing has this id. Inside the store it means every rule, and tallies
// use it for the whole client.
func TestRuleOfZerosFindsNoAlerts(t *testing.T) { onBoth(t, testRuleOfZerosFindsNoAlerts) }

func testRuleOfZerosFindsNoAlerts(t *testing.T, f *fixture) {
	f.accept(f.prepare(f.client, false))
	for _, q := range []string{"ruleId=" + uuid.Nil.String(), "id=" + uuid.Nil.String(), "companyId=" + uuid.Nil.String(),
		"ruleId=" + uuid.Nil.String() + " && message=Sync failed",
		"ruleId=" + uuid.Nil.String() + " && ruleId=" + f.rule.ID.String(), "ruleId=" + f.rule.ID.String() + " && ruleId=" + uuid.Nil.String()} {
		alerts, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "query="+url.QueryEscape(q)))
		if err != nil || total != 0 || len(alerts) != 0 {
			t.Errorf("%s: %d alerts of %d, %v; want none", q, len(alerts), total, err)
		}
	}
}
