package store

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/portal"
)

// BenchmarkPortalPages measures the first pages of the portal for a client with millions of alerts, as they are at the
// first request and from then on.
func BenchmarkPortalPages(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			f := openHistory(b, database)
			f.indexAll()
			f.rulesOfHistory()
			f.countedWeek()
			types, err := catalogue.New(nil, catalogue.Options{})
			if err != nil {
				b.Fatal(err)
			}
			mux := http.NewServeMux()
			err = portal.Register(mux, portal.Options{
				Sessions: f, Deliveries: f, Events: f, Rules: f, Alerts: f, Clients: f, Audit: f, Issues: f, Statistics: f, Profiles: f, APIKeys: f, Mailboxes: f, Operator: portal.Operator{Views: f},
				Catalogue: func(context.Context) (*catalogue.Catalogue, error) { return types, nil }, Now: time.Now,
			})
			if err != nil {
				b.Fatal(err)
			}
			session, err := f.CreateSession(b.Context(), operator)
			if err != nil {
				b.Fatal(err)
			}
			for _, page := range []string{"", "/deliveries", "/deliveries?state=failed", "/events", "/rules", "/rules/" + ruleNumber(3).String()} {
				first := time.Duration(0)
				measure(b, "page "+page, func() (int, error) {
					r := httptest.NewRequest(http.MethodGet, portal.Path+"clients/"+f.client.ID.String()+page, nil)
					r.AddCookie(&http.Cookie{Name: "herald-session", Value: session})
					w, began := httptest.NewRecorder(), time.Now()
					mux.ServeHTTP(w, r)
					if first == 0 {
						first = time.Since(began)
						b.Logf("the first time it took %v", first)
					}
					if w.Code != http.StatusOK {
						return 0, fmt.Errorf("%s answers %d: %.500s", page, w.Code, w.Body)
					}
					return w.Body.Len(), nil
				})
			}
		})
	}
}

// rulesOfHistory makes the rules of openHistory's alerts, and more, so that the list has a whole page.
func (f *fixture) rulesOfHistory() {
	f.t.Helper()
	for n := range 30 {
		r := herald.Rule{ID: ruleNumber(n + 1), ClientID: f.client.ID, Type: "Sync Completed", PostedType: "Sync Completed", Webhook: fmt.Sprintf("https://receiver.example/hook-%d", n)}
		if err := f.CreateRule(f.t.Context(), operator, r); err != nil {
			f.t.Fatal(err)
		}
	}
}

// countedWeek fills in the counters of a week, of fifty receivers.
func (f *fixture) countedWeek() {
	f.t.Helper()
	hour := time.Now().Unix() / 3600
	for receiver := range 50 {
		for ago := range int64(7 * 24) {
			counts := make([]any, 22) // attempts by outcome, deliveries by state, latencies, the last success and failure
			for i := range counts {
				counts[i] = 0
			}
			counts[0], counts[4], counts[20] = 100, 100, time.Now().UnixMicro()
			_, err := f.write.ExecContext(f.t.Context(), addStatisticsSQL, append([]any{f.client.ID[:], hour - ago, fmt.Sprintf("https://receiver.example/hook-%d", receiver), ""}, counts...)...)
			if err != nil {
				f.t.Fatal(err)
			}
		}
	}
}
