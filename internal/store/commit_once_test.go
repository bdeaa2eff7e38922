package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// changesOnce are all changes outside of the writer. Each returns how often it took place.
var changesOnce = map[string]func(*fixture) (times func() int64, change func(context.Context) error){
	"a rule is made": func(f *fixture) (func() int64, func(context.Context) error) {
		r := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Failed", PostedType: "x", Webhook: hook}
		return f.counted("rules WHERE posted_type = 'x'"), func(ctx context.Context) error { return f.CreateRule(ctx, operator, r) }
	},
	"a rule is updated": func(f *fixture) (func() int64, func(context.Context) error) {
		r := f.rule
		r.Webhook = hook + "2"
		return f.counted("audit WHERE action = 'rule.updated'"), func(ctx context.Context) error { _, err := f.UpdateRule(ctx, operator, r); return err }
	},
	"a rule is deleted": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("audit WHERE action = 'rule.deleted'"), func(ctx context.Context) error { return f.DeleteRule(ctx, operator, f.client.ID, f.rule.ID) }
	},
	"a client is made": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("clients WHERE name = 'New'"), func(ctx context.Context) error {
			c, plain, err := f.CreateClient(ctx, operator, "New", "")
			if keys, listErr := f.Keys(f.t.Context(), c.ID); err == nil && (listErr != nil || len(keys) != 1 || plain == "") {
				return fmt.Errorf("%d keys, %v; want the one that was returned", len(keys), listErr)
			}
			return err
		}
	},
	"a client is deleted": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("audit WHERE action = 'client.deleted'"), func(ctx context.Context) error { return f.DeleteClient(ctx, operator, f.client.ID) }
	},
	"a key is made": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("keys WHERE name = 'new'"), func(ctx context.Context) error {
			k, _, err := f.CreateKey(ctx, operator, f.client.ID, "new", "")
			if keys, listErr := f.Keys(f.t.Context(), f.client.ID); err == nil && (listErr != nil || len(keys) != 2 || keys[1].ID != k.ID) {
				return fmt.Errorf("keys %v, %v; want the one that was returned", keys, listErr)
			}
			return err
		}
	},
	"a profile is saved": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("audit WHERE action = 'profile.updated'"), func(ctx context.Context) error {
			return f.SaveProfile(ctx, operator, f.client.ID, herald.Profile{Name: "Other"})
		}
	},
	"an event type is saved": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("audit WHERE action = 'eventType.saved'"), func(ctx context.Context) error {
			return f.SaveEventType(ctx, operator, herald.EventType{Name: "Own"})
		}
	},
	"an event type is deleted": func(f *fixture) (func() int64, func(context.Context) error) {
		if err := f.SaveEventType(f.t.Context(), operator, herald.EventType{Name: "Own"}); err != nil {
			f.t.Fatal(err)
		}
		return f.counted("audit WHERE action = 'eventType.deleted'"), func(ctx context.Context) error {
			return f.DeleteEventType(ctx, operator, "Own")
		}
	},
	"a mailbox is unsubscribed": func(f *fixture) (func() int64, func(context.Context) error) {
		return f.counted("audit WHERE action = 'mailbox.unsubscribed'"), func(ctx context.Context) error {
			return f.Unsubscribe(ctx, operator, f.client.ID, "a@b.example")
		}
	},
	"a delivery is made again": func(f *fixture) (func() int64, func(context.Context) error) {
		e := f.prepare(f.client, true)
		f.accept(e)
		return f.counted("queue WHERE node IS NULL"), func(ctx context.Context) error {
			_, err := f.AddDelivery(ctx, herald.Caller{}, f.client.ID, work.Redelivery{Repeats: alertID(e), Origin: origin, Address: hook})
			return err
		}
	},
	"a delivery is cancelled": func(f *fixture) (func() int64, func(context.Context) error) {
		e := f.prepare(f.client, false)
		f.accept(e)
		return f.counted("deliveries"), func(ctx context.Context) error {
			return f.CancelDelivery(ctx, herald.Caller{}, f.client.ID, e.Alerts[0].Items[0].ID)
		}
	},
	"a mail is decided on": func(f *fixture) (func() int64, func(context.Context) error) {
		d := f.acceptMails(1, "ann@acme.example")[0]
		times := func() int64 {
			n, err := first(f.t.Context(), f.read, scanInt, `SELECT n FROM mail_windows`)
			if err != nil {
				return 0
			}
			return n
		}
		return times, func(ctx context.Context) error {
			_, _, err := f.DecideMail(ctx, d, policy.Digest{Limit: 3, Window: time.Hour})
			return err
		}
	},
	"a digest is recorded": func(f *fixture) (func() int64, func(context.Context) error) {
		d := f.acceptMails(1, "ann@acme.example")[0]
		return f.counted("deliveries"), func(ctx context.Context) error {
			return f.RecordDigest(ctx, work.Result{Item: d, Attempt: attempt(d, herald.OutcomeDelivered, 250), State: herald.Delivered}, nil, time.Hour)
		}
	},
	"orphans are freed": func(f *fixture) (func() int64, func(context.Context) error) {
		f.accept(f.prepare(f.client, true))
		if err := f.Leave(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		return f.counted("attempts"), func(ctx context.Context) error { _, _, err := f.FreeOrphans(ctx, uuid.Nil); return err }
	},
}

// counted returns how many rows there are more than now.
func (f *fixture) counted(rows string) func() int64 {
	before := f.rows(rows)
	return func() int64 { return f.rows(rows) - before }
}

// TestEachChangeTakesPlaceOnce: the answer to the commit of a change is lost. The caller is told
// that it took place, and it has once.
func TestEachChangeTakesPlaceOnce(t *testing.T) {
	testEachChangeOnce(t, func(proxy *cuttingProxy) { proxy.armed.Store(true) })
}

// TestChangeWhoseCommitIsLost: the COMMIT itself never arrives. The change is made again, once.
func TestChangeWhoseCommitIsLost(t *testing.T) {
	testEachChangeOnce(t, func(proxy *cuttingProxy) { proxy.armedBefore.Store(true) })
}

// testEachChangeOnce makes each change while the proxy cuts one connection.
func testEachChangeOnce(t *testing.T, arm func(*cuttingProxy)) {
	for name, prepare := range changesOnce {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, proxy := newCutFixture(t, nil)
			f.t = t
			times, change := prepare(f)
			arm(proxy)
			if err := change(t.Context()); err != nil {
				t.Errorf("the change was answered %v", err)
			}
			if n := proxy.cuts.Load(); n != 1 {
				t.Errorf("%d connections were cut, want 1", n)
			}
			if n := times(); n != 1 {
				t.Errorf("it took place %d times", n)
			}
		})
	}
}
