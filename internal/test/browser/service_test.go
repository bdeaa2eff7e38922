package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/test/browser"
	"herald/internal/test/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Stop()
	postgres.Exit(code)
}

const operatorKey = "operator-key-for-tests-0123456789abcdef"

// service is the whole program.
type service struct {
	t        *testing.T
	app      *app.App
	origin   string
	operator *client.API
}

// startService starts the program on an empty directory. What is to be retried waits for an hour, so that pages
// show the same at any time.
func startService(t *testing.T, change ...func(*app.Config)) *service {
	t.Helper()
	config := app.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), OperatorKeys: []string{operatorKey}, AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		RetrySchedule: []time.Duration{time.Hour, time.Hour, time.Hour}, Version: "1.0",
	}
	for _, c := range change {
		c(&config)
	}
	started, err := app.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, app: started, origin: "http://" + started.Address()}
	t.Cleanup(s.stop)
	s.operator = s.as(operatorKey)
	return s
}

// stop stops the program, once.
func (s *service) stop() {
	if s.app == nil {
		return
	}
	if err := s.app.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
	s.app = nil
}

func (s *service) as(key string) *client.API {
	s.t.Helper()
	c, err := client.New(s.origin, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// account is a client of the service.
type account struct {
	client.Account
	s   *service
	api *client.API
}

func (s *service) account(name string) *account {
	s.t.Helper()
	made, err := s.operator.CreateClient(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return &account{made, s, s.as(made.APIKey)}
}

// path returns the address of a page of the client.
func (a *account) path(page string) string { return "/portal/clients/" + a.ID.String() + page }

// signedIn opens a tab and signs in with a key.
func (s *service) signedIn(t *testing.T, key string) *browser.Tab {
	t.Helper()
	tab := browser.NewTab(t, s.origin)
	signIn(tab, key)
	return tab
}

func signIn(tab *browser.Tab, key string) {
	tab.Open("/portal/sign-in", http.StatusOK)
	tab.Type("#key", key+"\r")
	tab.Until(`!location.pathname.includes("sign-in") && document.readyState === "complete"`)
}

var companies = []uuid.UUID{uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002"), uuid.MustParse("0c1f3f1e-93ce-4a53-9f8e-5b8f0b9f3a11"), uuid.MustParse("f4b6a2d0-2b1c-4df5-8a43-7e1d3c5b9e77")}

// syncFailed is an event of a company.
func syncFailed(company uuid.UUID) client.Event {
	return client.Event{Type: "Sync Failed", CompanyID: company, Data: json.RawMessage(`{"syncId":"c2b7e5a4-1f0d-4d3e-9a52-6b7f3f1f2a10","syncType":"Expense","FailureStage":"Pushing"}`)}
}

// receiver starts a receiver, which answers as a function does.
func receiver(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(s.Close)
	return s.URL
}

// nobodyListens is an address that refuses connections. A port that was free a moment ago may be another test's.
const nobodyListens = "http://127.0.0.1:1/"

// answers answers with a status and a text in JSON.
func answers(status int, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintln(w, text)
	}
}

func (a *account) rule(kind, webhook string, company uuid.UUID) {
	a.s.t.Helper()
	if _, err := a.api.CreateRule(a.s.t.Context(), client.Rule{Type: kind, CompanyID: company, Notifiers: client.Notifiers{Webhook: webhook}}); err != nil {
		a.s.t.Fatal(err)
	}
}

// attempted waits until every delivery of the client was attempted n times or has ended, and returns them.
func (a *account) attempted(n int) []client.Delivery {
	a.s.t.Helper()
	var all []client.Delivery
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for {
		all = all[:0]
		for d, err := range a.api.AllDeliveries(a.s.t.Context(), client.DeliveryFilter{}) {
			if err != nil {
				a.s.t.Fatal(err)
			}
			all = append(all, d)
		}
		if len(all) > 0 && !slices.ContainsFunc(all, func(d client.Delivery) bool { return d.State == herald.Pending && (d.AttemptCount < n || d.InFlight) }) {
			return all
		}
		select {
		case <-ticker.C:
		case <-deadline:
			a.s.t.Fatalf("the deliveries did not end within a minute: %+v", all)
		}
	}
}

// seed makes rules, keys, events and deliveries in every state, in more than a page of a list.
func (a *account) seed(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	taken := receiver(t, answers(http.StatusOK, `{"received":true}`))
	refused := receiver(t, answers(http.StatusUnauthorized, `{"error":"unauthorized","detail":"The Authorization header does not match."}`))
	busy := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		answers(http.StatusServiceUnavailable, `{"error":"down for maintenance"}`)(w, r)
	})
	profile, err := a.api.Profile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	profile.AlertAuthHeader = "Bearer 5f0c1a1d8e9b4c"
	if _, err := a.api.SaveProfile(ctx, profile); err != nil {
		t.Fatal(err)
	}
	a.rule("Sync Failed", refused+"/webhooks/accounting", companies[0])
	a.rule("Sync Failed", busy+"/hooks/herald", companies[1])
	a.rule("Sync Failed", taken+"/incoming", companies[2])
	a.rule("Data sync completed", nobodyListens, uuid.Nil)
	events := slices.Repeat([]client.Event{syncFailed(companies[2])}, 54)
	for _, company := range companies[:2] {
		events = append(events, syncFailed(company), syncFailed(company))
	}
	if _, err := a.api.PublishAll(ctx, events); err != nil {
		t.Fatal(err)
	}
	if _, err := a.api.Publish(ctx, client.Event{Type: "Data sync completed", CompanyID: companies[1], DataConnectionID: companies[0],
		Data: json.RawMessage(`{"dataType":"invoices","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.api.CreateKey(ctx, "continuous integration", "analyst"); err != nil {
		t.Fatal(err)
	}
	ended := a.attempted(1)
	for _, d := range ended { // a second attempt, to compare two
		if d.State == herald.Pending {
			if _, err := a.api.Retry(ctx, d.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.attempted(2)
	failed, delivered := pick(ended, herald.Failed), pick(ended, herald.Delivered)
	for _, d := range []client.Delivery{failed, delivered} {
		if _, err := a.api.Redeliver(ctx, d.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.api.Cancel(ctx, pick(ended, herald.Pending).ID); err != nil {
		t.Fatal(err)
	}
	a.attempted(2)
}

// pick returns the newest delivery in a state.
func pick(all []client.Delivery, state herald.State) client.Delivery {
	for _, d := range all {
		if d.State == state {
			return d
		}
	}
	panic("there is no delivery in the state " + fmt.Sprint(state))
}

// key makes a key of the client with a role.
func (a *account) key(role string) client.Key {
	a.s.t.Helper()
	made, err := a.api.CreateKey(a.s.t.Context(), role, role)
	if err != nil {
		a.s.t.Fatal(err)
	}
	return made
}
