package delivery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/delivery"
	"herald/internal/fairqueue"
	"herald/internal/intake"
	"herald/internal/policy"
	"herald/internal/secret"
	"herald/internal/store"
	"herald/internal/webhook"
)

// fixture is intake, store and engine, with receivers that are functions. It runs in a synctest
// bubble, so that minutes pass at once.
type fixture struct {
	t       *testing.T
	store   *store.Store
	engine  *delivery.Engine
	control *delivery.Control
	intake  *intake.Intake
	client  herald.Client
	rule    herald.Rule // the last one of the client
	begun   time.Time

	mu       sync.Mutex
	requests []sent
	answer   func(ctx context.Context, r webhook.Request) webhook.Result
}

// sent is a request that a receiver got, and how long after the start of the fixture.
type sent struct {
	url   string
	body  string
	after time.Duration
}

func newFixture(t *testing.T, dir string, o delivery.Options, answer func(context.Context, webhook.Request) webhook.Result) *fixture {
	t.Helper()
	f := &fixture{t: t, answer: answer, begun: time.Now()}
	var clients *clientcache.Cache
	var err error
	f.store, err = store.Open(t.Context(), store.Options{Dir: dir, Box: secret.NewBox(secret.Key{1}), Changed: func(id uuid.UUID) { clients.Invalidate(id) }})
	if err != nil {
		t.Fatal(err)
	}
	if clients, err = clientcache.New(f.store, catalogue.Options{}); err != nil {
		t.Fatal(err)
	}
	o.Clients, o.Sender, o.MailPolicy = clients, f, policy.Mail(policy.MailSchedule())
	switch made := o.Store.(type) {
	case *slowStore:
		made.Store, o.Digests = f.store, f.store
	case *faultyStore:
		made.Store, o.Digests = f.store, made
	default:
		o.Store, o.Digests = f.store, f.store
	}
	if flaky, ok := o.Nodes.(*flakyNodes); ok {
		flaky.Store = f.store
	} else {
		o.Nodes = f.store
	}
	if o.Queue == nil {
		o.Queue = f.store
	}
	o.Random = func() float64 { return 0 }
	if o.Policy.Transient == nil {
		o.Policy = policy.Rules(policy.RulesSchedule())
	}
	f.engine = delivery.New(o)
	if err := f.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.control = &delivery.Control{Engine: f.engine, History: f.store, Origin: webhook.Origin}
	f.intake = intake.New(clients, f.store, f.engine, webhook.Origin)
	return f
}

// withClient makes a client with a rule for each address.
func (f *fixture) withClient(addresses ...string) *fixture {
	f.t.Helper()
	var err error
	if f.client, _, err = f.store.CreateClient(f.t.Context(), herald.Caller{Operator: true}, "Acme", ""); err != nil {
		f.t.Fatal(err)
	}
	for _, address := range addresses {
		rule := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Completed", PostedType: "Sync Completed", Webhook: address}
		if err := f.store.CreateRule(f.t.Context(), herald.Caller{Operator: true}, rule); err != nil {
			f.t.Fatal(err)
		}
		f.rule = rule
	}
	return f
}

func (f *fixture) Send(ctx context.Context, q webhook.Request) webhook.Result {
	f.mu.Lock()
	f.requests = append(f.requests, sent{q.URL, wholeBody(q), time.Since(f.begun)})
	f.mu.Unlock()
	return f.answer(ctx, q)
}

func (f *fixture) stop() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := f.engine.Stop(ctx); err != nil {
		f.t.Error(err)
	}
	if err := f.store.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) got() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// publish publishes n events and returns their first deliveries' ids.
func (f *fixture) publish(n int) []uuid.UUID {
	f.t.Helper()
	var ids []uuid.UUID
	for i := range n {
		p := herald.Publication{Event: herald.Event{
			ClientID: f.client.ID, Type: "Sync Completed", CompanyID: uuid.New(), Data: json.RawMessage(fmt.Sprintf(`{"syncId":"%05d","syncType":"Expense"}`, i)),
		}}
		receipts, err := f.intake.Publish(f.t.Context(), herald.Caller{Operator: true}, []herald.Publication{p})
		if err != nil {
			f.t.Fatal(err)
		}
		if receipts[0].AlertCount > 0 {
			ids = append(ids, herald.DeliveryID(receipts[0].AlertIDs[0], 0))
		}
	}
	return ids
}

func (f *fixture) delivery(id uuid.UUID) (herald.Delivery, []herald.Attempt) {
	f.t.Helper()
	d, attempts, err := f.store.Delivery(f.t.Context(), f.client.ID, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d, attempts
}

func status(code int) webhook.Result {
	r := webhook.Result{Status: code}
	if code > 299 {
		r.Reason = herald.ReasonStatus
	}
	return r
}

func always(code int) func(context.Context, webhook.Request) webhook.Result {
	return func(context.Context, webhook.Request) webhook.Result { return status(code) }
}

// near reports whether got is at most a second later than want: the claimer reads the database once
// a second when nothing is due.
func near(got, want time.Duration) bool { return got >= want && got <= want+time.Second }

func TestRetriesFollowTheSchedule(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{}, always(503)).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(10 * time.Minute)
		got := f.got()
		if len(got) != 4 {
			t.Fatalf("%d requests, want 4", len(got))
		}
		for n, want := range []time.Duration{0, 20 * time.Second, 40 * time.Second, 60 * time.Second} {
			since := got[0].after
			if n > 0 {
				since = got[n].after - got[n-1].after
			}
			if !near(since, want) {
				t.Errorf("request %d came %v after the one before, want %v", n+1, since, want)
			}
			if got[n].body != got[0].body {
				t.Errorf("request %d has another body", n+1)
			}
		}
		if d, attempts := f.delivery(id); d.State != herald.Failed || d.Reason != herald.ReasonExhausted || len(attempts) != 4 {
			t.Errorf("the delivery is %s (%s) after %d attempts", d.State, d.Reason, len(attempts))
		}
		f.stop()
	})
}

func TestRetryAfterIsWaitedForBeyondTheSchedule(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		first := true
		f := newFixture(t, dir, delivery.Options{}, func(context.Context, webhook.Request) webhook.Result {
			if first {
				first = false
				return webhook.Result{Status: 429, Reason: herald.ReasonStatus, RetryAfter: "600"}
			}
			return status(200)
		}).withClient("https://a.example/")
		f.publish(1)
		time.Sleep(11 * time.Minute)
		if got := f.got(); len(got) != 2 || !near(got[1].after, 10*time.Minute) {
			t.Errorf("requests %v, want the second after ten minutes", got)
		}
		f.stop()
	})
}

// TestHangingReceiverDelaysNobodyElse: one receiver hangs for 30 s on each of 1000 calls. The other
// receiver gets its 1000 requests within five seconds.
func TestHangingReceiverDelaysNobodyElse(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{Items: 512, InFlight: 64, InFlightPerLane: 16}}, func(ctx context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "hangs") {
				select {
				case <-ctx.Done():
					return webhook.Result{Reason: herald.ReasonInterrupted}
				case <-time.After(30 * time.Second):
					return webhook.Result{Reason: herald.ReasonTimeout}
				}
			}
			return status(200)
		}).withClient("https://hangs.example/", "https://quick.example/")
		f.publish(1000)
		time.Sleep(5 * time.Second)
		quick := 0
		for _, s := range f.got() {
			if strings.Contains(s.url, "quick") {
				quick++
			}
		}
		if quick != 1000 {
			t.Errorf("the quick receiver has %d of 1000 after five seconds", quick)
		}
		f.stop()
	})
}

// TestReceiversWithNewNamesThatHangDelayNobodyElse: two clients have deliveries to enough hosts that
// hang to fill all places in flight. No host has answered yet. Another client's webhooks are sent at
// once, to a receiver that is new too.
func TestReceiversWithNewNamesThatHangDelayNobodyElse(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 128}}, func(ctx context.Context, q webhook.Request) webhook.Result {
			if !strings.Contains(q.URL, "hangs") {
				time.Sleep(4 * time.Millisecond)
				return status(200)
			}
			select {
			case <-ctx.Done():
				return webhook.Result{Reason: herald.ReasonInterrupted}
			case <-time.After(30 * time.Second):
				return webhook.Result{Reason: herald.ReasonTimeout}
			}
		})
		for range 2 {
			hosts := make([]string, 20)
			for n := range hosts {
				hosts[n] = fmt.Sprintf("https://hangs-%s.example/", uuid.NewString())
			}
			f.withClient(hosts...).publish(10)
		}
		f.withClient("https://quick.example/")
		quick := 0
		for range 100 {
			published := time.Since(f.begun)
			f.publish(1)
			time.Sleep(10 * time.Millisecond)
			got := f.got()
			last := got[len(got)-1]
			if !strings.Contains(last.url, "quick") || last.after-published > 4*time.Millisecond {
				t.Errorf("the webhook was not sent within 4 ms; the last request is %+v", last)
				break
			}
			quick++
		}
		if hanging := len(f.got()) - quick; hanging < 32 {
			t.Errorf("only %d requests hang", hanging)
		}
		f.stop()
	})
}

// TestTwoClientsShareAReceiver: one client has a long backlog for an origin. It does not delay the
// deliveries of another client to the same origin.
func TestTwoClientsShareAReceiver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{Items: 512, InFlight: 32, InFlightPerLane: 16}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(100 * time.Millisecond)
			return status(200)
		}).withClient("https://shared.example/busy")
		f.publish(1000) // seven seconds of work
		f.withClient("https://shared.example/other").publish(16)
		published := time.Since(f.begun)
		time.Sleep(time.Minute)
		busy, other := 0, 0
		for _, s := range f.got() {
			if strings.HasSuffix(s.url, "busy") {
				busy++
				continue
			}
			if other++; s.after-published > time.Second {
				t.Errorf("the other client's request %d came %v after its publish", other, s.after-published)
			}
		}
		if busy != 1000 || other != 16 {
			t.Errorf("%d and %d requests, want 1000 and 16", busy, other)
		}
		f.stop()
	})
}

// TestDueLaneIsFoundBehindHundredsThatAreNot: a retry is made in time although hundreds of lanes
// wait for later retries.
func TestDueLaneIsFoundBehindHundredsThatAreNot(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const lanes = 400
		var failed atomic.Bool
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 2 * lanes}}, func(_ context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "zz") {
				if failed.Swap(true) {
					return status(200)
				}
				return status(503)
			}
			return webhook.Result{Status: 503, Reason: herald.ReasonStatus, RetryAfter: "86400"}
		})
		var addresses []string
		for i := range lanes {
			addresses = append(addresses, fmt.Sprintf("https://r%04d.example/", i))
		}
		f.withClient(addresses...).publish(1)
		time.Sleep(time.Minute)
		earlier := len(f.got())
		for range 3 { // the id of the new client comes after all others or between them
			failed.Store(false)
			before := time.Since(f.begun)
			f.withClient("https://zz.example/").publish(1)
			time.Sleep(30 * time.Second)
			got := f.got()
			if last := got[len(got)-1]; len(got) != earlier+2 || last.after-before > 22*time.Second {
				t.Fatalf("%d requests, the last %v after the publish; want a retry after 20 s", len(got)-earlier, last.after-before)
			}
			earlier = len(got)
		}
		f.stop()
	})
}

// flakyNodes are nodes on a database that is away for some calls of FreeOrphans.
type flakyNodes struct {
	*store.Store
	fail atomic.Int32 // how many calls are still to fail
}

func (n *flakyNodes) Shared() bool { return true }

func (n *flakyNodes) FreeOrphans(ctx context.Context, after uuid.UUID) (uuid.UUID, int, error) {
	if n.fail.Load() > 0 {
		n.fail.Add(-1)
		return after, 0, &herald.Error{Code: herald.CodeUnavailable, Message: "away"}
	}
	return n.Store.FreeOrphans(ctx, after)
}

// TestOrphansAreFreedThoughTheDatabaseGoesAway: a node that was declared dead registers again. It
// makes the deliveries of its old incarnation within seconds, not after the regular minute.
func TestOrphansAreFreedThoughTheDatabaseGoesAway(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		nodes := &flakyNodes{}
		f := newFixture(t, dir, delivery.Options{Nodes: nodes, Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(time.Second)
			return status(200)
		}).withClient("https://a.example/")
		f.publish(5)
		nodes.fail.Store(3)
		for count := range int64(100) { // another node declares this one dead
			if declared, err := nodes.DeclareDead(t.Context(), 1, count); declared || err != nil {
				break
			}
		}
		time.Sleep(20 * time.Second)
		if left := nodes.fail.Load(); left != 0 {
			t.Errorf("%d failures are left: the node did not try again", left)
		}
		delivered := make(map[string]bool)
		for _, s := range f.got() {
			delivered[s.body] = true
		}
		if len(delivered) != 5 {
			t.Errorf("%d of 5 were made within 20 s", len(delivered))
		}
		time.Sleep(time.Minute)
		f.stop()
	})
}

// TestSpilledDeliveriesKeepTheirOrder: memory has room for a few deliveries. A thousand events of
// one lane arrive in the order of their publishing, each once.
func TestSpilledDeliveriesKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		limits := fairqueue.Limits{Items: 8, InFlightPerLane: 1}
		f := newFixture(t, dir, delivery.Options{Limits: limits}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(10 * time.Millisecond)
			return status(200)
		}).withClient("https://a.example/")
		const events = 1000
		f.publish(events)
		time.Sleep(10 * time.Minute)
		var got, want []string
		for i := range events {
			want = append(want, fmt.Sprintf(`"syncId":"%05d"`, i))
		}
		for _, s := range f.got() {
			at := strings.Index(s.body, `"syncId"`)
			got = append(got, s.body[at:at+len(want[0])])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		f.stop()
	})
}

func TestCancelledWhileWaitingIsNotSent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(time.Minute)
			return status(200)
		}).withClient("https://a.example/")
		ids := f.publish(2)
		if _, err := f.control.Cancel(t.Context(), herald.Caller{}, f.client.ID, ids[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if got := f.got(); len(got) != 1 {
			t.Errorf("%d requests, want 1: the second delivery was cancelled", len(got))
		}
		if d, _ := f.delivery(ids[1]); d.State != herald.Cancelled {
			t.Errorf("the delivery is %s", d.State)
		}
		f.stop()
	})
}

// TestDeliveryThatNeverStartsExpires: no delivery waits for ever. An id contains the time of its
// event and ids never go back, but the clock does between two bubbles. So the times here are long.
func TestDeliveryThatNeverStartsExpires(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := policy.Rules([]time.Duration{})
		p.MaxAge = 10 * time.Minute
		f := newFixture(t, dir, delivery.Options{Policy: p, Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(20 * time.Minute)
			return status(200)
		}).withClient("https://a.example/")
		ids := f.publish(2)
		time.Sleep(50 * time.Minute)
		if d, attempts := f.delivery(ids[1]); d.State != herald.Failed || d.Reason != herald.ReasonExpired || len(attempts) != 0 {
			t.Errorf("the delivery is %s (%s) after %d attempts, want failed (expired) without one", d.State, d.Reason, len(attempts))
		}
		f.stop()
	})
}

// TestHeldDeliveryIsMadeAfterTheNodeDied closes the store under the engine, as a kill would, and
// opens it in another engine.
func TestHeldDeliveryIsMadeAfterTheNodeDied(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{}, func(ctx context.Context, _ webhook.Request) webhook.Result {
			<-ctx.Done()
			<-hang
			return webhook.Result{Reason: herald.ReasonInterrupted}
		}).withClient("https://a.example/")
		id := f.publish(1)[0]
		synctest.Wait()
		if err := f.store.Close(); err != nil { // so the engine can record nothing more
			t.Fatal(err)
		}
		next := newFixture(t, dir, delivery.Options{}, always(200))
		next.client = f.client
		time.Sleep(time.Minute)
		d, attempts := next.delivery(id)
		if d.State != herald.Delivered || len(attempts) != 2 || attempts[0].Outcome != herald.OutcomeUnknown {
			t.Errorf("the delivery is %s with %+v", d.State, attempts)
		}
		next.stop()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		close(hang)
		if err := f.engine.Stop(ctx); err == nil {
			t.Error("stopping without a database returned no error")
		}
	})
}

func TestDeletedClientsRetriesAreNotMade(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{}, always(503)).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(time.Second)
		if err := f.store.DeleteClient(t.Context(), herald.Caller{Operator: true}, f.client.ID); err != nil {
			t.Fatal(err)
		}
		if n, err := f.store.CancelDeletedClients(t.Context()); n != 1 || err != nil {
			t.Fatalf("cancelled %d, %v", n, err)
		}
		time.Sleep(5 * time.Minute)
		if got := f.got(); len(got) != 1 {
			t.Errorf("%d requests, want 1", len(got))
		}
		if d, _ := f.delivery(id); d.State != herald.Cancelled {
			t.Errorf("the delivery is %s", d.State)
		}
		f.stop()
	})
}

// TestRedirectHasItsTurnInABusyLane: a redirect that leads to a lane with a backlog gets the next
// free place there, before the lane's own deliveries.
func TestRedirectHasItsTurnInABusyLane(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var waited time.Duration
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(ctx context.Context, q webhook.Request) webhook.Result {
			if !strings.Contains(q.URL, "busy") && waited == 0 {
				begun := time.Now()
				leave, err := q.Enter(ctx, "https://busy.example:443")
				if err != nil {
					t.Error(err)
					return webhook.Result{Reason: herald.ReasonTimeout}
				}
				waited = time.Since(begun)
				leave()
			}
			time.Sleep(time.Second)
			return status(200)
		}).withClient("https://busy.example/", "https://redirects.example/")
		f.publish(100)
		time.Sleep(5 * time.Minute)
		if waited == 0 || waited > 2*time.Second {
			t.Errorf("the redirect waited %v for a place, want no more than one attempt", waited)
		}
		f.stop()
	})
}

// wholeBody returns the body that a request has on the wire.
func wholeBody(q webhook.Request) string {
	if q.Data == nil {
		return string(q.Body)
	}
	return string(q.Body) + string(q.Data) + "}"
}
