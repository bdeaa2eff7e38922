package delivery_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/delivery"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/store"
	"herald/internal/webhook"
	"herald/internal/work"
)

// errPoison stands for what a database says of an input that it never takes.
var errPoison = errors.New("index row size 3000 exceeds the maximum 2704")

// faultyStore is a store that refuses some inputs, however often they come.
type faultyStore struct {
	*store.Store
	refuseResult func(work.Result) bool
	refuseMail   func(work.Item) bool

	mu    sync.Mutex
	calls int
}

func (s *faultyStore) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
}

func (s *faultyStore) Record(r work.Result) error {
	if s.refuseResult != nil && s.refuseResult(r) {
		s.count()
		return errPoison
	}
	return s.Store.Record(r)
}

func (s *faultyStore) DecideMail(ctx context.Context, d work.Item, digest policy.Digest) (policy.MailAction, []work.DigestEntry, error) {
	if s.refuseMail != nil && s.refuseMail(d) {
		s.count()
		return 0, nil, errPoison
	}
	return s.Store.DecideMail(ctx, d, digest)
}

// mailer delivers every mail and counts them.
type mailer struct {
	mu    sync.Mutex
	boxes []string
}

func (m *mailer) Send(_ context.Context, r mail.Request) mail.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes = append(m.boxes, r.Mailbox)
	return mail.Result{Status: 250}
}

func (m *mailer) sent() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.boxes)
}

// withMailRule gives the client a rule for a mailbox, past the checks of the API, as an older version
// may have stored it.
func (f *fixture) withMailRule(box string) *fixture {
	f.t.Helper()
	rule := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Completed", PostedType: "Sync Completed", Emails: []string{box}}
	if err := f.store.CreateRule(f.t.Context(), herald.Caller{Operator: true}, rule); err != nil {
		f.t.Fatal(err)
	}
	return f
}

func change(t *testing.T, dir, text string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "herald.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestUnreadableClientHoldsUpNobody: deliveries of a client whose sealed header does not open give their
// places back. They wait visibly, use up no retry, and are made when the client can be read again.
func TestUnreadableClientHoldsUpNobody(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 4}}, always(200)).withClient("https://unreadable.example/")
		change(t, dir, `UPDATE clients SET auth = x'00', version = version + 1`)
		unreadable := f.client
		ids := f.publishUnread(8)
		f.withClient("https://other.example/")
		other := f.publish(1)[0]
		time.Sleep(time.Second)
		if d, _ := f.delivery(other); d.State != herald.Delivered {
			t.Errorf("the other client's delivery is %s after a second", d.State)
		}
		f.client = unreadable
		for _, id := range ids {
			d, attempts := f.delivery(id)
			if d.State != herald.Pending || d.InFlight || len(attempts) != 0 || !strings.Contains(d.Waiting, "could not read the client") || !d.NextAttemptAt.After(time.Now()) {
				t.Errorf("the delivery is %+v after %d attempts, want it to wait with its reason", d, len(attempts))
			}
		}
		time.Sleep(10 * time.Minute)
		change(t, dir, `UPDATE clients SET auth = NULL, version = version + 1`)
		time.Sleep(5 * time.Minute)
		for _, id := range ids {
			if d, attempts := f.delivery(id); d.State != herald.Delivered || d.Waiting != "" || len(attempts) != 1 {
				t.Errorf("the delivery is %s (%q) after %d attempts, want it delivered at the first", d.State, d.Waiting, len(attempts))
			}
		}
		f.stop()
	})
}

// publishUnread makes n events and deliveries of the client although it cannot be read, as if they
// had been accepted before.
func (f *fixture) publishUnread(n int) (ids []uuid.UUID) {
	f.t.Helper()
	version, err := f.store.Version(f.t.Context(), f.client.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	for range n {
		event := herald.Event{ID: herald.NewEventID(), ClientID: f.client.ID, Type: "Sync Completed", OccurredAt: time.Now(), Data: []byte(`{}`)}
		alert := herald.AlertID(event.ID, 1)
		item := work.Item{
			ID: herald.DeliveryID(alert, 0), ClientID: f.client.ID, RuleID: f.rule.ID, Origin: "https://unreadable.example:443",
			Address: f.rule.Webhook, Attempt: 1, MadeAt: time.Now(),
		}
		_, err := f.store.Accept([]work.PreparedEvent{{Event: event, ClientVersion: version, Alerts: []work.PreparedAlert{{
			ID: alert, RuleID: f.rule.ID, Head: []byte(`{"Data":`), Items: []work.Item{item}}}}})
		if err != nil {
			f.t.Fatal(err)
		}
		ids = append(ids, item.ID)
	}
	f.engine.Added()
	return ids
}

// TestUnreadableClientFailsInTheEnd: what can never be sent ends with the age cap and says why.
func TestUnreadableClientFailsInTheEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := policy.Rules(policy.RulesSchedule())
		p.MaxAge = 10 * time.Minute
		f := newFixture(t, dir, delivery.Options{Policy: p}, always(200)).withClient("https://unreadable.example/")
		change(t, dir, `UPDATE clients SET auth = x'00', version = version + 1`)
		id := f.publishUnread(1)[0]
		time.Sleep(20 * time.Minute)
		d, attempts := f.delivery(id)
		if d.State != herald.Failed || d.Reason != herald.ReasonLocal || len(attempts) != 1 || !strings.Contains(attempts[0].Error, "could not read the client") {
			t.Errorf("the delivery is %s (%s) with %+v", d.State, d.Reason, attempts)
		}
		f.stop()
	})
}

// TestMailboxThatCannotBeWrittenToFailsAtOnce: it takes part in no digest and reaches no mail server.
func TestMailboxThatCannotBeWrittenToFailsAtOnce(t *testing.T) {
	for name, box := range map[string]string{
		"long local part": strings.Repeat("a", 65) + "@acme.example", "long domain": "a@" + strings.Repeat("long.", 51) + "example",
		"3,000 bytes": strings.Repeat("a", 3000) + "@acme.example", "long in punycode": "a@" + strings.Repeat("ü.", 40) + "example", "no mailbox": "nobody",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				m, s := &mailer{}, &faultyStore{}
				s.refuseMail = func(work.Item) bool { return true }
				f := newFixture(t, dir, delivery.Options{Store: s, Mailer: m, Digest: policy.Digest{Limit: 1, Window: time.Minute}}, always(200)).withClient().withMailRule(box)
				id := f.publish(1)[0]
				time.Sleep(time.Second)
				d, attempts := f.delivery(id)
				if d.State != herald.Failed || d.Reason != herald.ReasonAddress || len(attempts) != 1 || len(attempts[0].Error) > 2000 {
					t.Errorf("the delivery is %s (%s) with %d attempts", d.State, d.Reason, len(attempts))
				}
				if s.calls != 0 || m.sent() != 0 {
					t.Errorf("%d windows were asked for, and %d mails sent, want none", s.calls, m.sent())
				}
				f.stop()
			})
		})
	}
}

// TestMailThatCannotBeDecidedOnWaits: other deliveries go on, and the mail is sent when the fault is over.
func TestMailThatCannotBeDecidedOnWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		m, s := &mailer{}, &faultyStore{}
		s.refuseMail = func(work.Item) bool { return !mended.Load() }
		f := newFixture(t, dir, delivery.Options{Store: s, Mailer: m, Digest: policy.Digest{Limit: 100, Window: time.Minute}, Limits: fairqueue.Limits{InFlight: 2}}, always(200)).
			withClient().withMailRule("ann@acme.example")
		ids := f.publish(4)
		f.withClient("https://other.example/")
		other := f.publish(1)[0]
		time.Sleep(time.Second)
		if d, _ := f.delivery(other); d.State != herald.Delivered {
			t.Errorf("the other delivery is %s after a second", d.State)
		}
		if s.calls > 4 {
			t.Errorf("%d decisions were asked for, want one for each mail", s.calls)
		}
		mended.Store(true)
		time.Sleep(time.Minute)
		if m.sent() != len(ids) {
			t.Errorf("%d mails were sent, want %d", m.sent(), len(ids))
		}
		f.stop()
	})
}

// TestPoisonInAResultIsCleaned: what a receiver says is recorded without what the database, a terminal
// or a reader cannot take.
func TestPoisonInAResultIsCleaned(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		poison := "a\x00\x1b[2J\u202e\xff" + strings.Repeat("long name ", 100_000)
		f := newFixture(t, dir, delivery.Options{Policy: policy.Rules([]time.Duration{})}, func(context.Context, webhook.Request) webhook.Result {
			return webhook.Result{Reason: herald.ReasonTLS, Error: poison,
				Request:  &herald.RequestRecord{Method: "POST", URL: "https://a.example/", Hops: []herald.Hop{{Status: 302, URL: poison}}},
				Response: &herald.ResponseRecord{Headers: map[string][]string{"X": {poison}}, Body: poison}}
		}).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(time.Second)
		_, attempts := f.delivery(id)
		if len(attempts) != 1 || attempts[0].Request == nil || attempts[0].Response == nil {
			t.Fatalf("attempts %.2000v", attempts)
		}
		a := attempts[0]
		for name, text := range map[string]string{"error": a.Error, "hop": a.Request.Hops[0].URL, "header": a.Response.Headers["X"][0], "body": a.Response.Body} {
			if strings.ContainsAny(text, "\x00\x1b\u202e") || !utf8.ValidString(text) || len(text) > 64<<10 || !strings.HasPrefix(text, "a") {
				t.Errorf("%s: %d bytes, %.40q", name, len(text), text)
			}
		}
		if len(a.Error) > 2<<10 || !a.Response.Truncated {
			t.Errorf("the error has %d bytes; truncated is %v", len(a.Error), a.Response.Truncated)
		}
		f.stop()
	})
}

// TestRefusedResultIsRecordedWithLess: the outcome is recorded without what the database refuses, after
// a few tries.
func TestRefusedResultIsRecordedWithLess(t *testing.T) {
	for name, test := range map[string]struct {
		refuse   func(work.Result) bool
		attempts int
		calls    int
	}{
		"the response": {func(r work.Result) bool { return r.Attempt != nil && r.Attempt.Response != nil }, 1, 1},
		"the error":    {func(r work.Result) bool { return r.Attempt != nil && r.Attempt.Error == "poison" }, 1, 2},
		"the attempt":  {func(r work.Result) bool { return r.Attempt != nil }, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := &faultyStore{refuseResult: test.refuse}
				f := newFixture(t, dir, delivery.Options{Store: s}, func(context.Context, webhook.Request) webhook.Result {
					return webhook.Result{Status: 400, Reason: herald.ReasonStatus, Error: "poison",
						Request: &herald.RequestRecord{Method: "POST"}, Response: &herald.ResponseRecord{Body: "x"}}
				}).withClient("https://a.example/")
				id := f.publish(1)[0]
				time.Sleep(time.Second)
				d, attempts := f.delivery(id)
				if d.State != herald.Failed || len(attempts) != test.attempts || s.calls != test.calls {
					t.Errorf("the delivery is %s with %d attempts after %d refusals; want failed, %d, %d", d.State, len(attempts), s.calls, test.attempts, test.calls)
				}
				f.stop()
			})
		})
	}
}

// TestResultThatIsNeverTakenIsNotHeld: a result that the database takes in no form leaves the place and
// the room, and waits visibly.
func TestResultThatIsNeverTakenIsNotHeld(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &faultyStore{}
		var poisoned atomic.Pointer[uuid.UUID]
		s.refuseResult = func(r work.Result) bool {
			client := poisoned.Load()
			return client != nil && r.Item.ClientID == *client
		}
		f := newFixture(t, dir, delivery.Options{Store: s, Limits: fairqueue.Limits{Items: 2}}, always(200)).withClient("https://a.example/")
		first := f.client
		poisoned.Store(&first.ID)
		ids := f.publish(6)
		f.withClient("https://b.example/")
		other := f.publish(1)[0]
		time.Sleep(3 * time.Second)
		if d, _ := f.delivery(other); d.State != herald.Delivered {
			t.Errorf("the other client's delivery is %s", d.State)
		}
		f.client = first
		if d, _ := f.delivery(ids[0]); d.State != herald.Pending || d.InFlight || !strings.Contains(d.Waiting, "could not record") {
			t.Errorf("the delivery is %+v", d)
		}
		poisoned.Store(nil)
		time.Sleep(time.Minute)
		for _, id := range ids {
			if d, _ := f.delivery(id); d.State != herald.Delivered {
				t.Errorf("the delivery is %s", d.State)
			}
		}
		f.stop()
	})
}

// TestContentThatCannotBeEndedWaitsVisibly: a delivery without content whose end the database refuses
// waits with its reason, ever longer, and holds up nobody. It ends when the database takes its end.
func TestContentThatCannotBeEndedWaitsVisibly(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 1}, Log: slog.New(slog.NewTextHandler(log, nil))}, always(200)).withClient("https://unreadable.example/")
		change(t, dir, `CREATE TRIGGER refuse BEFORE INSERT ON deliveries WHEN new.state = 2 BEGIN SELECT RAISE(ABORT, 'poison'); END`)
		change(t, dir, `CREATE TRIGGER gone AFTER INSERT ON queue BEGIN DELETE FROM events; END`)
		id := f.publishUnread(1)[0]
		time.Sleep(time.Second)
		change(t, dir, `DROP TRIGGER gone`)
		other := f.publishUnread(1)[0]
		time.Sleep(time.Second)
		if d, _ := f.delivery(other); d.State != herald.Delivered {
			t.Errorf("the other delivery is %s", d.State)
		}
		d, attempts := f.delivery(id)
		if d.State != herald.Pending || d.InFlight || len(attempts) != 0 || !strings.Contains(d.Waiting, "could not end the delivery") {
			t.Errorf("the delivery is %+v after %d attempts, want it to wait with its reason", d, len(attempts))
		}
		time.Sleep(10 * time.Minute)
		if n := log.count("outcome=retry"); n < 5 || n > 25 {
			t.Errorf("it was tried %d times in ten minutes, want ever longer pauses", n)
		}
		change(t, dir, `DROP TRIGGER refuse`)
		time.Sleep(4 * time.Minute)
		if d, _ := f.delivery(id); d.State != herald.Failed || d.Reason != herald.ReasonContentMissing {
			t.Errorf("the delivery is %s (%s), want it failed", d.State, d.Reason)
		}
		f.stop()
	})
}

// lines are the lines of a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// TestFinalResultThatIsRefusedIsNotMadeAgain: the receiver gets the alert once, although the database takes
// its result in no form for ten minutes. The delivery waits visibly meanwhile, and then has its result.
func TestFinalResultThatIsRefusedIsNotMadeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		state  herald.State
	}{"delivered": {200, herald.Delivered}, "failed": {400, herald.Failed}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				registry := prometheus.NewRegistry()
				s := &faultyStore{refuseResult: func(work.Result) bool { return !mended.Load() }}
				f := newFixture(t, dir, delivery.Options{Store: s, Metrics: registry}, always(test.status)).withClient("https://a.example/")
				ids := f.publish(3)
				time.Sleep(10 * time.Minute)
				if got := f.got(); len(got) != len(ids) {
					t.Errorf("%d requests in ten minutes, want %d", len(got), len(ids))
				}
				if d, _ := f.delivery(ids[0]); d.State != herald.Pending || d.InFlight || !strings.Contains(d.Waiting, "could not record") {
					t.Errorf("the delivery is %+v, want it to wait with its reason", d)
				}
				if s.calls < 10 || s.calls > 300 {
					t.Errorf("it was tried to record %d times, want ever more seldom", s.calls)
				}
				mended.Store(true)
				time.Sleep(4 * time.Minute)
				for _, id := range ids {
					if d, attempts := f.delivery(id); d.State != test.state || d.Waiting != "" || len(attempts) != 1 || attempts[0].Status != test.status {
						t.Errorf("the delivery is %+v with %+v", d, attempts)
					}
				}
				if got := f.got(); len(got) != len(ids) {
					t.Errorf("%d requests in the end, want %d", len(got), len(ids))
				}
				if n := counter(t, registry, "herald_deliveries_ended_total", test.state.String()); n != float64(len(ids)) {
					t.Errorf("%v deliveries ended, want %d", n, len(ids))
				}
				f.stop()
			})
		})
	}
}

// TestRetryThatIsRefusedIsMadeAgain: only what is final is kept.
func TestRetryThatIsRefusedIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &faultyStore{refuseResult: func(r work.Result) bool { return r.State == herald.Pending }}
		var n atomic.Int64
		f := newFixture(t, dir, delivery.Options{Store: s}, func(context.Context, webhook.Request) webhook.Result {
			if n.Add(1) == 1 {
				return status(503)
			}
			return status(200)
		}).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(time.Minute)
		if d, _ := f.delivery(id); d.State != herald.Delivered || len(f.got()) != 2 {
			t.Errorf("the delivery is %s after %d requests", d.State, len(f.got()))
		}
		f.stop()
	})
}

// TestEveryEndIsCounted: with an attempt or without, in a digest, and by a cancel.
func TestEveryEndIsCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		m := &mailer{}
		var answer atomic.Int64
		answer.Store(200)
		f := newFixture(t, dir, delivery.Options{Metrics: registry, Mailer: m, Digest: policy.Digest{Limit: 1, Window: time.Minute}}, func(context.Context, webhook.Request) webhook.Result {
			return status(int(answer.Load()))
		}).withClient().withMailRule("ann@acme.example")
		f.publish(5) // one by itself, and a digest of four
		time.Sleep(3 * time.Minute)
		f.withClient("https://a.example/").publish(2)
		time.Sleep(time.Second)
		answer.Store(400)
		f.publish(1)
		time.Sleep(time.Second)
		answer.Store(503)
		waits := f.publish(1)[0]
		time.Sleep(time.Second)
		if _, err := f.control.Cancel(t.Context(), herald.Caller{}, f.client.ID, waits); err != nil {
			t.Fatal(err)
		}
		change(t, dir, `CREATE TRIGGER gone AFTER INSERT ON queue BEGIN DELETE FROM events; END`)
		f.rule.Webhook = "https://a.example/"
		f.publishUnread(1) // without content
		time.Sleep(2 * time.Second)
		change(t, dir, `DROP TRIGGER gone`)
		f.withClient().withMailRule("bob@acme.example")
		if err := f.store.Unsubscribe(t.Context(), herald.Caller{Operator: true}, f.client.ID, "bob@acme.example"); err != nil {
			t.Fatal(err)
		}
		f.publish(1) // without an attempt
		time.Sleep(time.Second)
		want := map[string]float64{"delivered": 5 + 2, "failed": 2, "cancelled": 2}
		for state, n := range want {
			if got := counter(t, registry, "herald_deliveries_ended_total", state); got != n {
				t.Errorf("%v %s, want %v", got, state, n)
			}
		}
		f.stop()
	})
}

// counter returns the value of a counter's series whose only label has a value.
func counter(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == label {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}
