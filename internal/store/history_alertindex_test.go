package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	mathrand "math/rand/v2"
	"net/url"
	"regexp"
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

// raiser accepts events of random companies and types, at random times.
type raiser struct {
	*fixture
	now       time.Time
	companies []uuid.UUID
	types     []string
	events    []work.PreparedEvent
}

func newRaiser(f *fixture) *raiser {
	r := &raiser{fixture: f, now: time.Now(), companies: []uuid.UUID{uuid.Nil}, types: []string{"Sync Failed", "Sync Completed"}}
	for range 9 {
		r.companies = append(r.companies, uuid.New())
	}
	f.segmentAlerts = 100
	f.makeOldPartitions(r.now.Add(-40 * time.Hour))
	return r
}

// raise accepts n events. A third is of the company companies[1], few are of the last.
func (r *raiser) raise(n int, youngest, oldest time.Duration) {
	r.t.Helper()
	var some []work.PreparedEvent
	for i := range n {
		e := r.prepareAt(r.now.Add(-youngest-mathrand.N(oldest-youngest)), r.rule.ID)
		e.Event.Type = r.types[mathrand.IntN(len(r.types))]
		switch last := len(r.companies) - 1; {
		case i%100 == 0:
			e.Event.CompanyID = r.companies[last]
		case i%3 == 0:
			e.Event.CompanyID = r.companies[1]
		default:
			e.Event.CompanyID = r.companies[mathrand.IntN(last)]
		}
		some = append(some, e)
	}
	r.accept(some...)
	r.events = append(r.events, some...)
	slices.SortFunc(r.events, func(a, b work.PreparedEvent) int { return bytes.Compare(a.Event.ID[:], b.Event.ID[:]) })
}

// ids returns the ids of the alerts whose events match, in their order.
func (r *raiser) ids(match func(*herald.Event) bool) (ids []uuid.UUID) {
	for i := range r.events {
		if match(&r.events[i].Event) {
			ids = append(ids, alertID(r.events[i]))
		}
	}
	return ids
}

// walk lists all pages of a query and compares them with the ids that it should find.
func (r *raiser) walk(company uuid.UUID, text string, want []uuid.UUID) {
	r.t.Helper()
	want = slices.Clone(want)
	for _, order := range []string{"id", "-id"} {
		var got []uuid.UUID
		for page := 1; page == 1 || (page-1)*70 < len(want); page++ {
			l, err := query.ParseList(url.Values{"pageSize": {"70"}, "orderBy": {order}, "page": {strconv.Itoa(page)}, "query": {text}}, query.Alerts())
			if err != nil {
				r.t.Fatal(err)
			}
			alerts, total, err := r.Alerts(r.t.Context(), r.client.ID, uuid.Nil, company, l)
			if err != nil || total != len(want) {
				r.t.Fatalf("%q of company %s, page %d: total %d, %v; want %d", text, company, page, total, err, len(want))
			}
			for _, a := range alerts {
				got = append(got, a.ID)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.t.Errorf("%q of company %s, order %s (-want +got):\n%.1000s", text, company, order, diff)
		}
		slices.Reverse(want)
	}
}

// TestSetsAreListedAsIfCounted compares the lists of companies and types with plain ones: in both
// orders, over alerts in segments, late ones and open ones, in spans that cut segments.
func TestSetsAreListedAsIfCounted(t *testing.T) { onBoth(t, testSetsAreListedAsIfCounted) }

func testSetsAreListedAsIfCounted(t *testing.T, f *fixture) {
	r := newRaiser(f)
	f.searchLimit = 0 // nothing is found but by the index
	r.raise(2000, time.Minute, 36*time.Hour)
	f.tallyAll()
	f.indexAll()
	r.raise(300, time.Minute, 36*time.Hour)   // late for their segments
	r.raise(150, time.Second, 40*time.Second) // some are late, and all are open
	f.tallyAll()
	f.indexAll()
	r.raise(50, 0, tallyLag/2)
	if segments, late := f.rows("alert_segments"), f.rows("late_alerts"); segments < 20 || late < 300 {
		t.Fatalf("%d segments, %d late: the test proves nothing", segments, late)
	}
	stamp := func(d time.Duration) string { return r.now.Add(-d).UTC().Format(time.RFC3339Nano) }
	for _, ages := range [][2]time.Duration{{}, {31 * time.Hour, 29 * time.Minute}, {30*time.Hour + 7*time.Minute, 30 * time.Hour}, {20 * time.Second, 0}, {0, 35 * time.Hour}, {time.Hour, 2 * time.Hour}} {
		span, oldest, youngest := "", ages[0], ages[1]
		if oldest > 0 {
			span += "&&raisedOnUtc>=" + stamp(oldest)
		}
		if youngest > 0 {
			span += "&&raisedOnUtc<" + stamp(youngest)
		}
		in := func(e *herald.Event) bool {
			age := r.now.Sub(herald.TimeOf(e.ID))
			return (oldest == 0 || age <= oldest) && (youngest == 0 || age > youngest)
		}
		for _, company := range []uuid.UUID{r.companies[1], r.companies[9], uuid.New()} {
			of := func(e *herald.Event) bool { return in(e) && e.CompanyID == company }
			ofType := func(e *herald.Event) bool { return of(e) && e.Type == r.types[0] }
			r.walk(company, strings.TrimPrefix(span, "&&"), r.ids(of))
			r.walk(uuid.Nil, "companyId="+company.String()+span, r.ids(of))
			r.walk(company, "clientId="+f.client.ID.String()+"&&companyId="+company.String()+span, r.ids(of))
			r.walk(company, "ruleType="+r.types[0]+span, r.ids(ofType))
			r.walk(uuid.Nil, "{companyId="+company.String()+"&&ruleType="+r.types[0]+"}"+span, r.ids(ofType))
		}
		r.walk(uuid.Nil, "ruleType="+r.types[1]+span, r.ids(func(e *herald.Event) bool { return in(e) && e.Type == r.types[1] }))
		r.walk(uuid.Nil, "ruleType=Nothing"+span, nil)
	}
}

// TestFewOfASetAreSearched: a query that the index does not answer, but of which it knows that few
// alerts can match, searches those. It is refused if they are too many.
func TestFewOfASetAreSearched(t *testing.T) { onBoth(t, testFewOfASetAreSearched) }

func testFewOfASetAreSearched(t *testing.T, f *fixture) {
	r := newRaiser(f)
	f.searchLimit = 0
	r.raise(1000, time.Minute, 36*time.Hour)
	f.tallyAll()
	f.indexAll()
	r.raise(100, 0, 36*time.Hour)
	few, many := r.companies[9].String(), r.companies[1].String()
	of := func(companies ...int) func(*herald.Event) bool {
		return func(e *herald.Event) bool {
			return slices.ContainsFunc(companies, func(i int) bool { return e.CompanyID == r.companies[i] })
		}
	}
	f.setLimit = 250 // fewer than the third of the alerts that are of companies[1]
	r.walk(r.companies[9], "message~Sync", r.ids(of(9)))
	r.walk(r.companies[9], "message~nothing", nil)
	r.walk(r.companies[9], "ruleId="+f.rule.ID.String(), r.ids(of(9)))
	r.walk(r.companies[9], "companyId="+many, nil)
	r.walk(r.companies[9], "dataConnectionId="+few, nil)
	r.walk(uuid.Nil, "companyId="+few+"||companyId="+r.companies[8].String(), r.ids(of(8, 9)))
	r.walk(uuid.Nil, "{companyId="+few+"||companyId="+few+"}&&ruleType!="+r.types[0], r.ids(func(e *herald.Event) bool { return of(9)(e) && e.Type != r.types[0] }))
	for _, text := range []string{"companyId=" + many + "&&message~Sync", "companyId=" + few + "||message~Sync", "ruleType!=" + r.types[0],
		"companyId=" + few + "||companyId=" + many, "companyId!=" + few, strings.Repeat("companyId="+few+"||", maxSets) + "companyId=" + few} {
		_, _, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "query="+url.QueryEscape(text)))
		if wantCode(t, err, herald.CodeInvalid); !strings.Contains(err.Error(), "companyId") || !strings.Contains(err.Error(), "raisedOnUtc>") {
			t.Errorf("%s: %v; want advice on what to add", text, err)
		}
	}
}

// TestEachAlertIsIndexedOnce writes segments on two nodes while batches with ids before and after
// tallied_to are committed.
func TestEachAlertIsIndexedOnce(t *testing.T) { onBoth(t, testEachAlertIsIndexedOnce) }

func testEachAlertIsIndexedOnce(t *testing.T, f *fixture) {
	version, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	f.segmentAlerts = 10
	company := uuid.New()
	const publishers, each = 8, 60
	var publishing, indexing sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			for range each {
				e := f.prepareAt(time.Now().Add(-tallyLag+mathrand.N(200*time.Millisecond)-100*time.Millisecond), f.rule.ID)
				e.ClientVersion, e.Event.CompanyID = version, company
				if _, err := f.Accept([]work.PreparedEvent{e}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	for _, step := range []func(context.Context) (int, error){f.Tally, f.IndexAlerts, f.IndexAlerts} {
		indexing.Go(func() {
			for ctx.Err() == nil {
				if _, err := step(ctx); err != nil && ctx.Err() == nil && herald.CodeOf(err) != herald.CodeUnavailable {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	stop()
	indexing.Wait()
	f.searchLimit = 0
	for _, o := range []query.Order{query.Alerts().Default, {Field: query.Alerts().Default.Field}} {
		alerts, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, company, query.List{Page: 1, PageSize: 1000, Order: o})
		if err != nil || total != publishers*each || len(alerts) != total {
			t.Errorf("%d alerts, total %d, %v; want %d", len(alerts), total, err, publishers*each)
		}
	}
	if n := f.rows("alert_segments"); n < 3 {
		t.Errorf("%d segments: the test proves nothing", n)
	}
}

// TestIndexFollowsRetention: what is expired is neither listed nor counted, and its part of the index is
// deleted. After a retention that had gone too far is set back, the index is written again.
func TestIndexFollowsRetention(t *testing.T) { onBoth(t, testIndexFollowsRetention) }

func testIndexFollowsRetention(t *testing.T, f *fixture) {
	r := newRaiser(f)
	f.searchLimit = 0
	r.raise(1000, time.Minute, 36*time.Hour)
	f.tallyAll()
	f.indexAll()
	r.raise(200, time.Minute, 36*time.Hour)
	keepFrom := func(at time.Time) {
		t.Helper()
		err := f.inTransaction(t.Context(), "keep less", func(ctx context.Context, tx *sql.Tx) error {
			id := herald.FirstIDAt(at)
			if _, err := tx.ExecContext(ctx, `UPDATE history SET kept_from = $1, kept_hour = $2`, id[:], micros(at)); err != nil {
				return err
			}
			return f.countAgain(ctx, tx, at)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	expire := func() {
		t.Helper()
		for {
			n, err := f.ExpireAlertIndex(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				return
			}
		}
	}
	since := func(at time.Time) []uuid.UUID {
		return r.ids(func(e *herald.Event) bool { return e.CompanyID == r.companies[1] && !herald.TimeOf(e.ID).Before(at) })
	}
	blocks, late := f.rows("alert_blocks"), f.rows("late_alerts")
	at := r.now.Add(-10 * time.Hour).Truncate(time.Hour)
	if _, err := f.write.ExecContext(t.Context(), `UPDATE history SET kept_from = $1, kept_hour = $2`, idBytes(herald.FirstIDAt(at)), micros(at)); err != nil {
		t.Fatal(err)
	}
	r.walk(r.companies[1], "", since(at))
	expire()
	r.walk(r.companies[1], "", since(at))
	if left, leftLate := f.rows("alert_blocks"), f.rows("late_alerts"); left == 0 || left >= blocks || leftLate == 0 || leftLate >= late {
		t.Errorf("%d of %d blocks and %d of %d late alerts are left", left, blocks, leftLate, late)
	}
	at = r.now.Add(-30 * time.Hour).Truncate(time.Hour)
	keepFrom(at)
	f.tallyAll()
	f.indexAll()
	expire()
	if n := f.rows("alert_segments s WHERE s.from_id >= s.to_id"); n > 0 {
		t.Errorf("%d segments without alerts are left", n)
	}
	r.walk(r.companies[1], "", since(at))
}

func idBytes(id uuid.UUID) []byte { return id[:] }

// TestUntilTheIndexIsMade: in a large database whose index is not made yet, a company is searched one by
// one. That is refused with advice if it is too much, and the query that follows the advice succeeds. A
// segment that fails leaves nothing behind.
func TestUntilTheIndexIsMade(t *testing.T) { onBoth(t, testUntilTheIndexIsMade) }

func testUntilTheIndexIsMade(t *testing.T, f *fixture) {
	r := newRaiser(f)
	r.raise(400, time.Minute, 30*time.Hour)
	f.openLimit, f.searchLimit = 100, 100
	company := r.companies[1]
	f.tallyAll()
	_, _, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, company, listOf(t, query.Alerts(), ""))
	wantCode(t, err, herald.CodeInvalid)
	advice := regexp.MustCompile(`raisedOnUtc>=([-0-9T:Z]+)`).FindStringSubmatch(err.Error())
	if advice == nil {
		t.Fatalf("%v: no advice", err)
	}
	since, err := time.Parse(time.RFC3339, advice[1])
	if err != nil {
		t.Fatal(err)
	}
	want := r.ids(func(e *herald.Event) bool { return e.CompanyID == company && !herald.TimeOf(e.ID).Before(since) })
	if len(want) == 0 {
		t.Error("nothing is found with the advice: the test proves nothing")
	}
	r.walk(company, advice[0], want)
	part, alerts, _, err := f.readSegment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken off")
	err = f.inTransaction(t.Context(), "break off", func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(writeSegment(ctx, tx, part, pack(byKey(alerts))), broken)
	})
	if !errors.Is(err, broken) || f.rows("alert_blocks") != 0 {
		t.Fatalf("%v, and %d blocks", err, f.rows("alert_blocks"))
	}
	f.indexAll()
	r.walk(company, "", r.ids(func(e *herald.Event) bool { return e.CompanyID == company }))
	if n, err := f.IndexAlerts(t.Context()); n != 0 || err != nil {
		t.Errorf("%d alerts, %v; want none while they are too few", n, err)
	}
	r.raise(100, 0, 30*time.Second)
	f.tallyAll()
	f.indexAll()
	r.walk(company, "", r.ids(func(e *herald.Event) bool { return e.CompanyID == company }))
}
