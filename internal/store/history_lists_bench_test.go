package store

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/test/postgres"
)

// manyAlerts is how many alerts the client has in BenchmarkLists, raised evenly over 30 days.
const manyAlerts = 4_000_000

// BenchmarkLists measures every list of a client with millions of alerts: its time, the number
// of rows found, and whether it was refused as too wide.
func BenchmarkLists(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			f := openHistory(b, database)
			f.indexAll()
			for _, parameters := range []string{
				"", "orderBy=id", "page=20000", "page=20000&orderBy=id", "page=40000", "pageSize=5000", "query=ruleId=" + ruleNumber(3).String(),
				"page=3000&query=ruleId=" + ruleNumber(3).String(), "query=raisedOnUtc>" + ago(24*time.Hour), "query=companyId=" + ruleNumber(8).String(),
				"query=companyId=" + ruleNumber(1).String() + "%26%26ruleType=Sync Completed", "query=companyId=" + ruleNumber(8).String() + "%26%26message~nothing",
				"query=ruleType=Sync Failed", "page=30000&orderBy=id&query=ruleType=Sync Completed", "query=ruleType=Sync Failed%26%26message~company",
				"query=companyId=" + ruleNumber(1).String() + "%26%26raisedOnUtc>" + ago(30*time.Hour),
				"query=companyId=" + ruleNumber(8).String() + "||companyId=" + ruleNumber(18).String(),
				"query=message~nothing", "query=ruleType=Sync Completed", "query=ruleType=Sync Completed%26%26raisedOnUtc>" + ago(7*time.Hour),
				"query=companyId=" + ruleNumber(8).String() + "%26%26raisedOnUtc>" + ago(7*time.Hour), "query=message~nothing%26%26raisedOnUtc>" + ago(7*time.Hour),
				"query=dataConnectionId=" + ruleNumber(8).String() + "%26%26raisedOnUtc>" + ago(7*time.Hour),
				"query=raisedOnUtc<" + ago(24*time.Hour), "page=30000&query=raisedOnUtc<" + ago(24*time.Hour),
			} {
				values, err := url.ParseQuery(parameters)
				if err != nil {
					b.Fatal(err)
				}
				l, err := query.ParseList(values, query.Alerts())
				if err != nil {
					b.Fatal(err)
				}
				measure(b, "alerts?"+parameters, func() (int, error) {
					alerts, _, err := f.Alerts(b.Context(), f.client.ID, uuid.Nil, uuid.Nil, l)
					return len(alerts), err
				})
			}
			for company, name := range map[int]string{1: "half of all", 8: "forty", 200_000: "none"} {
				for _, page := range []int{1, 19_000} {
					measure(b, fmt.Sprintf("alerts of a company that has %s, page %d", name, page), func() (int, error) {
						alerts, _, err := f.Alerts(b.Context(), f.client.ID, uuid.Nil, ruleNumber(company), query.List{Page: page, PageSize: 100, Order: query.Alerts().Default})
						return len(alerts), err
					})
				}
				for _, kind := range []string{"", "Sync Completed", "Sync Failed"} {
					measure(b, fmt.Sprintf("deliveries of a company that has %s %s", name, kind), func() (int, error) {
						deliveries, _, err := f.Deliveries(b.Context(), f.client.ID, herald.DeliveryFilter{Company: ruleNumber(company), Type: kind, Limit: 50})
						return len(deliveries), err
					})
				}
			}
			for _, after := range []uuid.UUID{uuid.Nil, herald.FirstIDAt(time.Now().Add(-15 * 24 * time.Hour))} {
				measure(b, "events after "+after.String(), func() (int, error) {
					events, _, err := f.Events(b.Context(), f.client.ID, herald.EventFilter{After: after, Limit: 50})
					return len(events), err
				})
			}
			pending, delivered, failed, cancelled := herald.Pending, herald.Delivered, herald.Failed, herald.Cancelled
			for name, filter := range map[string]herald.DeliveryFilter{
				"all": {}, "pending": {State: &pending}, "delivered": {State: &delivered}, "failed": {State: &failed}, "cancelled": {State: &cancelled},
				"all from the middle": {After: herald.FirstIDAt(time.Now().Add(-15 * 24 * time.Hour))},
				"of a rare type":      {Type: "Sync Failed"}, "of a usual type": {Type: "Sync Completed"}, "failed, of a company": {State: &failed, Company: ruleNumber(8)},
				"of a receiver that has none":    {Receiver: "https://elsewhere.example"},
				"failed, of a company, in a day": {State: &failed, Company: ruleNumber(8), Since: time.Now().Add(-24 * time.Hour)},
			} {
				filter.Limit = 50
				measure(b, "deliveries, "+name, func() (int, error) {
					deliveries, _, err := f.Deliveries(b.Context(), f.client.ID, filter)
					return len(deliveries), err
				})
			}
		})
	}
}

// BenchmarkIndexAlerts measures what the index of alerts costs: the processor time of this process for
// each alert, and how long one segment takes. On PostgreSQL the time of the server comes on top.
func BenchmarkIndexAlerts(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			f := openHistory(b, database)
			began, longest, alerts := processorTime(b), time.Duration(0), 0
			b.ResetTimer()
			for {
				at := time.Now()
				n, err := f.IndexAlerts(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if n == 0 {
					break
				}
				alerts += n
				longest = max(longest, time.Since(at))
			}
			b.ReportMetric(float64((processorTime(b)-began).Nanoseconds())/1000/float64(alerts), "µs-of-processor/alert")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(alerts), "µs/alert")
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-segment")
			b.ReportMetric(float64(f.rows("alert_blocks"))/float64(f.rows("alert_segments")), "blocks/segment")
		})
	}
}

// processorTime is the time that this process has used on processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ago(d time.Duration) string { return time.Now().UTC().Add(-d).Format(time.RFC3339) }

func measure(b *testing.B, name string, call func() (int, error)) {
	b.Run(name, func(b *testing.B) {
		found, refused := 0, 0
		for b.Loop() {
			n, err := call()
			switch {
			case err == nil:
				found = n
			case herald.CodeOf(err) == herald.CodeInvalid:
				refused = 1
			default:
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
		b.ReportMetric(float64(found), "found")
		b.ReportMetric(float64(refused), "400s")
	})
}

// ruleNumber returns the id of a rule or a company in openHistory.
func ruleNumber(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("%032x", n)) }

// openHistory opens a database in which one client has manyAlerts alerts, by ten rules. Half of them
// are of company 1, the others evenly of fifty thousand others; one in five thousand is of another type. One delivery in a thousand has failed, one in a thousand was
// cancelled, and the last hundred are pending.
func openHistory(b *testing.B, database string) *fixture {
	b.Helper()
	o, hex := Options{Dir: b.TempDir()}, `unhex(printf('%%012x70008000%%06x%s', $2 + i * $3, i))`
	number, series := `unhex(printf('%%032x', i %% %d + 1))`, `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n)`
	if database == "postgres" {
		o = Options{Database: postgres.Database(b)}
		hex = `(lpad(to_hex($2::bigint + i * $3::bigint), 12, '0') || '70008000' || lpad(to_hex(i), 6, '0') || '%s')::uuid`
		number, series = `lpad(to_hex(i %% %d + 1), 32, '0')::uuid`, `generate_series(1, $1::bigint) i`
	}
	o.Box = testBox(b)
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // the benchmark is over
	f := &fixture{Store: s, t: b}
	f.client = f.newClient("Many")
	const days = 30
	began := time.Now().Add(-days * 24 * time.Hour)
	f.makeOldPartitions(began)
	event, alert := fmt.Sprintf(hex, "000000"), fmt.Sprintf(hex, "000100")
	company, rule := `CASE WHEN i % 2 = 0 THEN `+fmt.Sprintf(number, 1)+` ELSE `+fmt.Sprintf(number, 100_000)+` END`, fmt.Sprintf(number, 10)
	kind := `CASE WHEN i % 5000 = 0 THEN 'Sync Failed' ELSE 'Sync Completed' END`
	for _, text := range []string{
		`INSERT INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data)
SELECT ` + event + `, $4, ` + kind + `, ` + company + `, NULL, 0, '', $5 FROM ` + series,
		`INSERT INTO alerts (id, client_id, event_id, rule_id, type, company_id, message, head)
SELECT ` + alert + `, $4, ` + event + `, ` + rule + `, ` + kind + `, ` + company + `, 'Sync completed for a company', $5 FROM ` + series,
		`INSERT INTO deliveries (id, client_id, address, state, reason, done_at)
SELECT ` + alert + `, $4, 'https://receiver.example/hook', CASE WHEN i % 1000 = 0 THEN 2 WHEN i % 1000 = 1 THEN 3 ELSE 1 END, '', 1 FROM ` + series + ` WHERE i <= $1 - 100 AND $5::bytea IS NOT NULL`,
		`INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
SELECT ` + alert + `, $4, 'https://receiver.example', 'https://receiver.example/hook', 0, 0, NULL, 1, 0 FROM ` + series + ` WHERE i > $1 - 100 AND $5::bytea IS NOT NULL`,
	} {
		if database == "sqlite" {
			text = strings.ReplaceAll(text, "::bytea", "")
		}
		step := (days * 24 * time.Hour / manyAlerts).Milliseconds()
		_, err := s.write.ExecContext(context.Background(), text, manyAlerts, began.UnixMilli(), step, f.client.ID[:], []byte(`{"syncId":"1","syncType":"Expense"}`))
		if err != nil {
			b.Fatal(err)
		}
	}
	f.tallyAll()
	if _, err := s.write.ExecContext(context.Background(), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
	return f
}
