package delivery_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"herald"
	"herald/internal/delivery"
	"herald/internal/mail"
	"herald/internal/webhook"
)

// mailFunc is a mail server that is a function.
type mailFunc func(ctx context.Context, r mail.Request) mail.Result

func (m mailFunc) Send(ctx context.Context, r mail.Request) mail.Result { return m(ctx, r) }

// withMailbox makes a client with a rule that names a mailbox.
func (f *fixture) withMailbox(box string) *fixture {
	f.t.Helper()
	f.withClient()
	rule := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Completed", PostedType: "Sync Completed", Emails: []string{box}}
	if err := f.store.CreateRule(f.t.Context(), herald.Caller{Operator: true}, rule); err != nil {
		f.t.Fatal(err)
	}
	return f
}

// TestSlowMailServerTakesNoPlaceFromWebhooks: the mail server does not answer for ten minutes, and many
// clients' mails wait for it. Webhooks to a receiver that nobody has called yet start at once, as many
// as without mails. Each mail arrives in the end.
func TestSlowMailServerTakesNoPlaceFromWebhooks(t *testing.T) {
	const clients, mails, webhooks = 5, 130, 50
	synctest.Test(t, func(t *testing.T) {
		var sending, most, sent atomic.Int64
		o := delivery.Options{Mailer: mailFunc(func(ctx context.Context, _ mail.Request) mail.Result {
			if n := sending.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer sending.Add(-1)
			if sent.Load() == 0 {
				select {
				case <-time.After(10 * time.Minute):
				case <-ctx.Done():
				}
			}
			sent.Add(1)
			return mail.Result{Status: 250}
		})}
		f := newFixture(t, t.TempDir(), o, func(context.Context, webhook.Request) webhook.Result {
			time.Sleep(2 * time.Second)
			return webhook.Result{Status: 200}
		})
		for n := range clients {
			f.withMailbox(fmt.Sprintf("ops%d@acme.example", n)).publish(mails)
		}
		synctest.Wait()
		if got := sending.Load(); got < mail.MaxConnections {
			t.Fatalf("%d mails are being sent, want at least %d", got, mail.MaxConnections)
		}
		f.withClient("https://new.example/").publish(webhooks)
		synctest.Wait()
		if got := len(f.got()); got != webhooks {
			t.Errorf("%d webhooks have started, want %d", got, webhooks)
		}
		if got := most.Load(); got > 4*mail.MaxConnections {
			t.Errorf("%d mails at once, want at most %d", got, 4*mail.MaxConnections)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if got := sent.Load(); got != clients*mails {
			t.Errorf("%d mails were sent, want %d", got, clients*mails)
		}
		f.stop()
	})
}

// TestMailThatWaitsForAConnectionIsHandedBack: a stop that comes before a mail has a connection leaves
// no attempt behind. The mail is sent at the next start.
func TestMailThatWaitsForAConnectionIsHandedBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := delivery.Options{Mailer: mailFunc(func(ctx context.Context, _ mail.Request) mail.Result {
			<-ctx.Done()
			return mail.Result{Wait: time.Second}
		})}
		f := newFixture(t, dir, o, always(200)).withMailbox("ops@acme.example")
		id := f.publish(1)[0]
		synctest.Wait()
		client := f.client
		f.stop()
		o.Mailer = mailFunc(func(context.Context, mail.Request) mail.Result { return mail.Result{Status: 250} })
		f = newFixture(t, dir, o, always(200))
		f.client = client
		time.Sleep(time.Minute)
		f.wantOneAttempt(id)
		f.stop()
	})
}
