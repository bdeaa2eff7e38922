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

// rig is intake, store and engine, with receivers that are functions. It runs
// in a synctest bubble, so that minutes pass at once.
type rig struct {
	t       *testing.T
	store   *store.Store
	engine  *delivery.Engine
	control *delivery.Control
	intake  *intake.Intake
	client  herald.Client
	begun   time.Time

	mu       sync.Mutex
	requests []sent
	answer   func(ctx context.Context, r webhook.Request) webhook.Result
}

// sent is a request that a receiver got, and when since the rig's start.
type sent struct {
	url   string
	body  string
	after time.Duration
}

func newRig(t *testing.T, dir string, o delivery.Options, answer func(context.Context, webhook.Request) webhook.Result) *rig {
	t.Helper()
	r := &rig{t: t, answer: answer, begun: time.Now()}
	var known *clientcache.Cache
	var err error
	r.store, err = store.Open(t.Context(), store.Options{Dir: dir, Box: secret.NewBox(secret.Key{1}), Changed: func(id uuid.UUID) { known.Invalidate(id) }})
	if err != nil {
		t.Fatal(err)
	}
	if known, err = clientcache.New(r.store, catalogue.Options{}); err != nil {
		t.Fatal(err)
	}
	o.Clients, o.Sender = known, r
	if slow, ok := o.Store.(*slowStore); ok {
		slow.Store = r.store
	} else {
		o.Store = r.store
	}
	if flaky, ok := o.Nodes.(*flakyNodes); ok {
		flaky.Store = r.store
	} else {
		o.Nodes = r.store
	}
	o.Random = func() float64 { return 0 }
	if o.Policy.Transient == nil {
		o.Policy = policy.Rules(policy.RulesSchedule())
	}
	r.engine = delivery.New(o)
	if err := r.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.control = &delivery.Control{Engine: r.engine, History: r.store, Origin: webhook.Origin}
	r.intake = intake.New(known, r.store, r.engine, webhook.Origin)
	return r
}

// withClient makes a client with a rule for each address.
func (r *rig) withClient(addresses ...string) *rig {
	r.t.Helper()
	var err error
	if r.client, _, err = r.store.CreateClient(r.t.Context(), herald.Caller{Operator: true}, "Acme", ""); err != nil {
		r.t.Fatal(err)
	}
	for _, address := range addresses {
		rule := herald.Rule{ID: herald.NewID(), ClientID: r.client.ID, Type: "Sync Completed", PostedType: "Sync Completed", Webhook: address}
		if err := r.store.CreateRule(r.t.Context(), herald.Caller{Operator: true}, rule); err != nil {
			r.t.Fatal(err)
		}
	}
	return r
}

func (r *rig) Send(ctx context.Context, q webhook.Request) webhook.Result {
	r.mu.Lock()
	r.requests = append(r.requests, sent{q.URL, string(q.Body), time.Since(r.begun)})
	r.mu.Unlock()
	return r.answer(ctx, q)
}

func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.engine.Stop(ctx); err != nil {
		r.t.Error(err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) got() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// publish publishes n events and returns their first deliveries' ids.
func (r *rig) publish(n int) []uuid.UUID {
	r.t.Helper()
	var ids []uuid.UUID
	for i := range n {
		p := herald.Publication{Event: herald.Event{
			ClientID: r.client.ID, Type: "Sync Completed", CompanyID: uuid.New(), Data: json.RawMessage(fmt.Sprintf(`{"syncId":"%05d","syncType":"Expense"}`, i)),
		}}
		receipts, err := r.intake.Publish(r.t.Context(), herald.Caller{Operator: true}, []herald.Publication{p})
		if err != nil {
			r.t.Fatal(err)
		}
		if receipts[0].AlertCount > 0 {
			ids = append(ids, herald.DeliveryID(receipts[0].AlertIDs[0], 0))
		}
	}
	return ids
}

func (r *rig) delivery(id uuid.UUID) (herald.Delivery, []herald.Attempt) {
	r.t.Helper()
	d, attempts, err := r.store.Delivery(r.t.Context(), r.client.ID, id)
	if err != nil {
		r.t.Fatal(err)
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

// near reports whether a time is at most a second later than planned: the
// claimer looks once a second when nothing is due.
func near(got, want time.Duration) bool { return got >= want && got <= want+time.Second }

func TestRetriesFollowTheSchedule(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, delivery.Options{}, always(503)).withClient("https://a.example/")
		id := r.publish(1)[0]
		time.Sleep(10 * time.Minute)
		got := r.got()
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
		if d, attempts := r.delivery(id); d.State != herald.Failed || d.Reason != herald.ReasonExhausted || len(attempts) != 4 {
			t.Errorf("the delivery is %s (%s) after %d attempts", d.State, d.Reason, len(attempts))
		}
		r.stop()
	})
}

func TestRetryAfterIsWaitedForBeyondTheSchedule(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		first := true
		r := newRig(t, dir, delivery.Options{}, func(context.Context, webhook.Request) webhook.Result {
			if first {
				first = false
				return webhook.Result{Status: 429, Reason: herald.ReasonStatus, RetryAfter: "600"}
			}
			return status(200)
		}).withClient("https://a.example/")
		r.publish(1)
		time.Sleep(11 * time.Minute)
		if got := r.got(); len(got) != 2 || !near(got[1].after, 10*time.Minute) {
			t.Errorf("requests %v, want the second after ten minutes", got)
		}
		r.stop()
	})
}

// TestHangingReceiverDelaysNobodyElse: one receiver hangs for 30 s on each of
// thousands of calls, the other is served as if it were alone.
func TestHangingReceiverDelaysNobodyElse(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, delivery.Options{Limits: fairqueue.Limits{Items: 512, InFlight: 64, InFlightPerLane: 16}}, func(ctx context.Context, q webhook.Request) webhook.Result {
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
		r.publish(1000)
		time.Sleep(5 * time.Second)
		quick := 0
		for _, s := range r.got() {
			if strings.Contains(s.url, "quick") {
				quick++
			}
		}
		if quick != 1000 {
			t.Errorf("the quick receiver has %d of 1000 after five seconds", quick)
		}
		r.stop()
	})
}

// TestTwoClientsShareAReceiver: one with a long backlog for it does not keep the
// other waiting, though all of both goes to one origin.
func TestTwoClientsShareAReceiver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, delivery.Options{Limits: fairqueue.Limits{Items: 512, InFlight: 32, InFlightPerLane: 16}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(100 * time.Millisecond)
			return status(200)
		}).withClient("https://shared.example/busy")
		r.publish(1000) // seven seconds of work
		r.withClient("https://shared.example/other").publish(16)
		published := time.Since(r.begun)
		time.Sleep(time.Minute)
		busy, other := 0, 0
		for _, s := range r.got() {
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
		r.stop()
	})
}

// TestDueLaneIsFoundBehindHundredsThatAreNot: a retry is made in time though
// hundreds of lanes wait for later ones.
func TestDueLaneIsFoundBehindHundredsThatAreNot(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const lanes = 400
		failed := false
		r := newRig(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 2 * lanes, InFlightPerClient: 2 * lanes}}, func(_ context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "zz") {
				if failed {
					return status(200)
				}
				failed = true
				return status(503)
			}
			return webhook.Result{Status: 503, Reason: herald.ReasonStatus, RetryAfter: "86400"}
		})
		var addresses []string
		for i := range lanes {
			addresses = append(addresses, fmt.Sprintf("https://r%04d.example/", i))
		}
		r.withClient(addresses...).publish(1)
		time.Sleep(time.Minute)
		asleep := len(r.got())
		for range 3 { // a client whose id is behind all others' in the walk, or among them
			failed = false
			before := time.Since(r.begun)
			r.withClient("https://zz.example/").publish(1)
			time.Sleep(30 * time.Second)
			got := r.got()
			if last := got[len(got)-1]; len(got) != asleep+2 || last.after-before > 22*time.Second {
				t.Fatalf("%d requests, the last %v after the publish; want a retry after 20 s", len(got)-asleep, last.after-before)
			}
			asleep = len(got)
		}
		r.stop()
	})
}

// flakyNodes are nodes on a database that goes away when orphans are to be freed.
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

// TestOrphansAreFreedThoughTheDatabaseGoesAway: a node that was buried registers
// anew, and what it held under its old number is made soon, not by the next
// regular sweep.
func TestOrphansAreFreedThoughTheDatabaseGoesAway(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		nodes := &flakyNodes{}
		r := newRig(t, dir, delivery.Options{Nodes: nodes, Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(time.Second)
			return status(200)
		}).withClient("https://a.example/")
		r.publish(5)
		nodes.fail.Store(3)
		for beat := range int64(100) { // another node takes this one for dead
			if declared, err := nodes.DeclareDead(t.Context(), 1, beat); declared || err != nil {
				break
			}
		}
		time.Sleep(20 * time.Second)
		if left := nodes.fail.Load(); left != 0 {
			t.Errorf("%d failures are left: the node did not try again", left)
		}
		delivered := make(map[string]bool)
		for _, s := range r.got() {
			delivered[s.body] = true
		}
		if len(delivered) != 5 {
			t.Errorf("%d of 5 were made within 20 s", len(delivered))
		}
		time.Sleep(time.Minute)
		r.stop()
	})
}

// TestSpilledWorkKeepsItsOrder: with memory for a few, a thousand events of one
// lane arrive in the order of their publishing, each once.
func TestSpilledWorkKeepsItsOrder(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		limits := fairqueue.Limits{Items: 8, InFlightPerLane: 1}
		r := newRig(t, dir, delivery.Options{Limits: limits}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(10 * time.Millisecond)
			return status(200)
		}).withClient("https://a.example/")
		const events = 1000
		r.publish(events)
		time.Sleep(10 * time.Minute)
		var got, want []string
		for i := range events {
			want = append(want, fmt.Sprintf(`"syncId":"%05d"`, i))
		}
		for _, s := range r.got() {
			at := strings.Index(s.body, `"syncId"`)
			got = append(got, s.body[at:at+len(want[0])])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		r.stop()
	})
}

func TestCancelledWhileWaitingIsNotSent(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(time.Minute)
			return status(200)
		}).withClient("https://a.example/")
		ids := r.publish(2)
		if _, err := r.control.Cancel(t.Context(), r.client.ID, ids[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if got := r.got(); len(got) != 1 {
			t.Errorf("%d requests, want 1: the second delivery was cancelled", len(got))
		}
		if d, _ := r.delivery(ids[1]); d.State != herald.Cancelled {
			t.Errorf("the delivery is %s", d.State)
		}
		r.stop()
	})
}

// TestWhatNeverGetsItsTurnExpires: nothing waits for ever. Ids tell when an event
// was published and never go back, as the clock does between two bubbles: hence
// the long times.
func TestWhatNeverGetsItsTurnExpires(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := policy.Rules([]time.Duration{})
		p.MaxAge = 10 * time.Minute
		r := newRig(t, dir, delivery.Options{Policy: p, Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(20 * time.Minute)
			return status(200)
		}).withClient("https://a.example/")
		ids := r.publish(2)
		time.Sleep(50 * time.Minute)
		if d, attempts := r.delivery(ids[1]); d.State != herald.Failed || d.Reason != herald.ReasonExpired || len(attempts) != 0 {
			t.Errorf("the delivery is %s (%s) after %d attempts, want failed (expired) without one", d.State, d.Reason, len(attempts))
		}
		r.stop()
	})
}

// TestHeldWorkGoesOnAfterTheNodeDied: the store is closed under the engine, as a
// kill would, and opened by another.
func TestHeldWorkGoesOnAfterTheNodeDied(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		r := newRig(t, dir, delivery.Options{}, func(ctx context.Context, _ webhook.Request) webhook.Result {
			<-ctx.Done()
			<-hang
			return webhook.Result{Reason: herald.ReasonInterrupted}
		}).withClient("https://a.example/")
		id := r.publish(1)[0]
		synctest.Wait()
		if err := r.store.Close(); err != nil { // nothing more is recorded
			t.Fatal(err)
		}
		next := newRig(t, dir, delivery.Options{}, always(200))
		next.client = r.client
		time.Sleep(time.Minute)
		d, attempts := next.delivery(id)
		if d.State != herald.Delivered || len(attempts) != 2 || attempts[0].Outcome != herald.OutcomeUnknown {
			t.Errorf("the delivery is %s with %+v", d.State, attempts)
		}
		next.stop()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		close(hang)
		if err := r.engine.Stop(ctx); err == nil {
			t.Error("stopping without a database said nothing")
		}
	})
}

func TestDeletedClientsRetriesAreNotMade(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir, delivery.Options{}, always(503)).withClient("https://a.example/")
		id := r.publish(1)[0]
		time.Sleep(time.Second)
		if err := r.store.DeleteClient(t.Context(), herald.Caller{Operator: true}, r.client.ID); err != nil {
			t.Fatal(err)
		}
		if n, err := r.store.CancelDeletedClients(t.Context()); n != 1 || err != nil {
			t.Fatalf("cancelled %d, %v", n, err)
		}
		time.Sleep(5 * time.Minute)
		if got := r.got(); len(got) != 1 {
			t.Errorf("%d requests, want 1", len(got))
		}
		if d, _ := r.delivery(id); d.State != herald.Cancelled {
			t.Errorf("the delivery is %s", d.State)
		}
		r.stop()
	})
}

// TestRedirectHasItsTurnInABusyLane: a redirect that leads to a lane with much
// to do goes on when a place there is given back, before the lane's own work.
func TestRedirectHasItsTurnInABusyLane(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var waited time.Duration
		r := newRig(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlightPerLane: 1}}, func(ctx context.Context, q webhook.Request) webhook.Result {
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
		r.publish(100)
		time.Sleep(5 * time.Minute)
		if waited == 0 || waited > 2*time.Second {
			t.Errorf("the redirect waited %v for a place, want no more than one attempt", waited)
		}
		r.stop()
	})
}
