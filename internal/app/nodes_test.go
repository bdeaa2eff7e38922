package app_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/secret"
	"herald/internal/test/postgres"
)

// onPostgres makes the nodes of a fixture share a PostgreSQL database.
func onPostgres(t *testing.T) func(*app.Config) {
	t.Helper()
	address, keyFile := postgres.Database(t), t.TempDir()+"/secret.key"
	if _, err := secret.LoadOrMakeKey(keyFile); err != nil {
		t.Fatal(err)
	}
	return func(c *app.Config) {
		c.Database, c.SecretKeyFile, c.NodeTimeout = address, keyFile, time.Second
	}
}

// secondNode starts another node on the database of the fixture.
func (f *fixture) secondNode() *fixture {
	f.t.Helper()
	other := &fixture{t: f.t, config: f.config, account: f.account}
	other.start()
	f.t.Cleanup(func() {
		if other.app != nil {
			other.stop()
		}
	})
	return other
}

// TestWholeProgramOnPostgres delivers an event after two retries and reads it back.
func TestWholeProgramOnPostgres(t *testing.T) {
	f := newFixture(t, onPostgres(t))
	hook := newReceiver(t, statuses(503, 503))
	f.rule(hook.URL, uuid.Nil)
	d := f.ended(f.publish(event()))
	if d.State != herald.Delivered || len(d.Attempts) != 3 {
		t.Errorf("the delivery is %s after %d attempts, want delivered after 3", d.State, len(d.Attempts))
	}
	sameBodies(t, hook.got())
	for _, path := range []string{"/rules?query=type~sync&orderBy=-id", "/rules/alerts?query=message~failed%20at", "/events", "/deliveries?state=delivered"} {
		if status, _, body := f.call("GET", path, f.account.APIKey, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestChangeOnOneNodeCountsOnTheOther: when one node changes a rule or a key, the change applies at
// once to a publish at the other.
func TestChangeOnOneNodeCountsOnTheOther(t *testing.T) {
	one := newFixture(t, onPostgres(t))
	two := one.secondNode()
	for n := range 30 {
		rule := one.rule("", uuid.Nil)
		if got := two.publish(event()).AlertCount; got != 1 {
			t.Fatalf("round %d: a rule made on the other node raised %d alerts", n, got)
		}
		if err := one.DeleteRule(t.Context(), rule.ID); err != nil {
			t.Fatal(err)
		}
		if got := two.publish(event()).AlertCount; got != 0 {
			t.Fatalf("round %d: a rule deleted on the other node raised %d alerts", n, got)
		}
	}
	made, err := one.CreateKey(t.Context(), "second", "")
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := two.call("POST", "/events", made.APIKey, eventText+`}`); status != 202 {
		t.Fatalf("a new key at the other node: %d %s", status, body)
	}
	if err := one.DeleteKey(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, body := two.call("POST", "/events", made.APIKey, eventText+`}`); status != 401 {
		t.Errorf("a deleted key at the other node: %d %s, want 401", status, body)
	}
}

// TestOneKeyOnTwoNodesRaisesOneAlert publishes with one idempotency key at both nodes at once.
func TestOneKeyOnTwoNodesRaisesOneAlert(t *testing.T) {
	one := newFixture(t, onPostgres(t))
	two := one.secondNode()
	one.rule("", uuid.Nil)
	for range 20 {
		key := uuid.NewString()
		var wg sync.WaitGroup
		for _, node := range []*fixture{one, two} {
			wg.Go(func() {
				if status, _, body := node.call("POST", "/events", one.account.APIKey, eventText+`,"idempotencyKey":"`+key+`"}`); status != 202 {
					t.Errorf("%d %s", status, body)
				}
			})
		}
		wg.Wait()
	}
	alerts, err := one.Alerts(t.Context(), client.ListOptions{})
	if err != nil || alerts.TotalResults != 20 {
		t.Errorf("%d alerts, %v; want 20", alerts.TotalResults, err)
	}
}

// TestRetryIsMadeByAnotherNode: a node that stops hands its deliveries back at once.
func TestRetryIsMadeByAnotherNode(t *testing.T) {
	one := newFixture(t, onPostgres(t), func(c *app.Config) { c.RetrySchedule = []time.Duration{time.Second} })
	two := one.secondNode()
	hook := newReceiver(t, statuses(http.StatusServiceUnavailable))
	one.rule(hook.URL, uuid.Nil)
	receipt := one.publish(event())
	eventually(t, "the first request", func() bool { return len(hook.got()) == 1 })
	one.stop()
	if d := two.ended(receipt); d.State != herald.Delivered || len(d.Attempts) != 2 {
		t.Errorf("the delivery is %s with %+v", d.State, d.Attempts)
	}
	sameBodies(t, hook.got())
}
