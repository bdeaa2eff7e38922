package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/clock"
	"herald/internal/secret"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// fixture is a store with one client that has one rule.
type fixture struct {
	*Store
	t       testing.TB
	client  herald.Client
	rule    herald.Rule
	version int64 // of the client, when a test needs it
	// uncounted says that the test has deleted history, or statistics are not of it, see checkIfCounted.
	uncounted bool
}

const (
	hook   = "https://receiver.example/hook"
	origin = "https://receiver.example:443"
)

// onBoth runs a test on a new database of each kind. Afterwards the statistics must be those of history.
func onBoth(t *testing.T, test func(*testing.T, *fixture)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, Options{Dir: t.TempDir()})
		test(t, f)
		f.checkIfCounted()
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, Options{Database: postgres.Database(t)})
		test(t, f)
		f.checkIfCounted()
	})
}

func TestMain(m *testing.M) { postgres.Main(m) }

func newFixture(t testing.TB, o Options) *fixture {
	t.Helper()
	f := &fixture{t: t}
	o.Box = testBox(t)
	var err error
	if f.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) //nolint:errcheck // a test may have closed it
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.client = f.newClient("Acme")
	f.rule = f.newRule(f.client)
	return f
}

func testBox(t testing.TB) *secret.Box {
	t.Helper()
	keys, err := secret.LoadOrMakeKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	return secret.NewBox(keys...)
}

// pastFor returns a time that was longer than d ago by the clock of every node. A node's clock follows the
// database's, so it may be behind the system's.
func pastFor(d time.Duration) int64 { return micros(time.Now().Add(-d - clock.MaxStep)) }

// operator is the caller of changes in tests where the caller does not matter.
var operator = herald.Caller{Operator: true}

func (f *fixture) newClient(name string) herald.Client {
	f.t.Helper()
	c, _, err := f.CreateClient(f.t.Context(), operator, name, "")
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) newRule(c herald.Client) herald.Rule {
	f.t.Helper()
	r := herald.Rule{ID: herald.NewID(), ClientID: c.ID, Type: "Sync Failed", PostedType: "sync-failed", Webhook: hook}
	if err := f.CreateRule(f.t.Context(), operator, r); err != nil {
		f.t.Fatal(err)
	}
	return r
}

// prepare returns an event that raises one alert with one delivery.
func (f *fixture) prepare(c herald.Client, held bool) work.PreparedEvent {
	f.t.Helper()
	version, err := f.Version(f.t.Context(), c.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.prepareOn(c, version, held)
}

// prepareOn returns an event that was prepared on a version of its client.
func (f *fixture) prepareOn(c herald.Client, version int64, held bool) work.PreparedEvent {
	event := herald.Event{ID: f.ids.NewEvent(), ClientID: c.ID, Type: "Sync Failed", OccurredAt: time.Now(), Data: []byte(`{"syncId":"1"}`)}
	alert := herald.AlertID(event.ID, 1)
	return work.PreparedEvent{Event: event, ClientVersion: version, Alerts: []work.PreparedAlert{{
		ID: alert, RuleID: f.rule.ID, Message: "Sync failed", Head: []byte(`{"Data":`),
		Items: []work.Item{{
			ID: herald.DeliveryID(alert, 0), ClientID: c.ID, RuleID: f.rule.ID, Origin: origin, Address: hook,
			Attempt: 1, MadeAt: herald.TimeOf(alert), Held: held,
		}},
	}}}
}

func (f *fixture) accept(events ...work.PreparedEvent) []herald.Receipt {
	f.t.Helper()
	receipts, err := f.Accept(events)
	if err != nil {
		f.t.Fatal(err)
	}
	return receipts
}

func (f *fixture) claim(n int) []work.Item {
	f.t.Helper()
	claimed, err := f.Claim(f.t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: n, Bytes: plenty}}, plenty)
	if err != nil {
		f.t.Fatal(err)
	}
	return claimed.Items
}

// plenty are more bytes than a test's deliveries have.
const plenty = 1 << 30

func (f *fixture) delivery(id uuid.UUID) (herald.Delivery, []herald.Attempt) {
	f.t.Helper()
	d, attempts, err := f.Delivery(f.t.Context(), f.client.ID, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d, attempts
}

func wantCode(t *testing.T, err error, code herald.Code) {
	t.Helper()
	if got := herald.CodeOf(err); got != code {
		t.Fatalf("error %v has code %q, want %q", err, got, code)
	}
}

func attempt(d work.Item, outcome herald.Outcome, status int) *herald.Attempt {
	return &herald.Attempt{DeliveryID: d.ID, N: d.Attempt, At: time.Now().UTC().Truncate(time.Microsecond), Outcome: outcome, Status: status,
		Timings:  herald.Timings{Total: 1.5},
		Request:  &herald.RequestRecord{Method: "POST", URL: d.Address, Headers: map[string]string{"Authorization": "Basic …"}},
		Response: &herald.ResponseRecord{Headers: map[string][]string{"Server": {"test"}}, Body: "ok"}}
}

func TestRestartFindsEverything(t *testing.T) {
	dir := t.TempDir()
	box := testBox(t)
	first, err := Open(t.Context(), Options{Dir: dir, Box: box})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := first.CreateClient(t.Context(), operator, "Acme", "")
	if err != nil {
		t.Fatal(err)
	}
	p := herald.Profile{Name: "Acme", RedirectURL: "https://acme.example", AlertAuthHeader: "Basic c2VjcmV0", WhiteListURLs: []string{"https://a.example"}}
	if err := first.SaveProfile(t.Context(), operator, c.ID, p); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Box: box}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened a second time: %v, want an error that names %s", err, dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Options{Dir: dir, Box: box})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close() //nolint:errcheck // the test is over
	got, err := second.Client(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got.Profile); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
}

func TestClosedStoreRefuses(t *testing.T) { onBoth(t, testClosedStoreRefuses) }

func testClosedStoreRefuses(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Accept([]work.PreparedEvent{prepared})
	wantCode(t, err, herald.CodeUnavailable)
}

func TestReadEndsWithItsContext(t *testing.T) { onBoth(t, testReadEndsWithItsContext) }

func testReadEndsWithItsContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Client(ctx, f.client.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
