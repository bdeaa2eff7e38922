package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/mail"
)

// mailServer is a real SMTP server. A mailbox whose name begins with a number gets that reply. It
// refuses "later" the first time. On a connection that carried a mail before, that is no first time: such a
// refusal may be the connection's, so the mail is sent once more at once. It never answers for "hangs". It
// takes the mail for "holds" and does not say so the first time. It says so late for "slow".
type mailServer struct {
	listener net.Listener
	hang     chan struct{}

	mu    sync.Mutex
	seen  map[string]int      // by mailbox, on new connections
	mails map[string][]string // messages by mailbox
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &mailServer{listener: listener, hang: make(chan struct{}), seen: make(map[string]int), mails: make(map[string][]string)}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{mailServer: p}, nil }))
	server.Domain, server.ErrorLog = "localhost", nil
	ended := make(chan struct{})
	go func() {
		server.Serve(listener) //nolint:errcheck // ends with Close
		close(ended)
	}()
	t.Cleanup(func() {
		close(p.hang)
		server.Close()
		<-ended
	})
	return p
}

func (p *mailServer) config(c *app.Config) {
	var err error
	if c.MailServer, err = mail.ParseServer("smtp://" + p.listener.Addr().String() + "?tls=none"); err != nil {
		panic(err)
	}
	c.MailFrom = netmail.Address{Address: "alerts@herald.example"}
	c.MailSchedule = []time.Duration{100 * time.Millisecond, 100 * time.Millisecond}
}

func (p *mailServer) got(box string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails[box]
}

// mailSession is one connection.
type mailSession struct {
	*mailServer
	to    string
	begun int // mails
}

func (l *mailSession) Mail(string, *smtp.MailOptions) error {
	l.begun++
	return nil
}
func (l *mailSession) Reset()        {}
func (l *mailSession) Logout() error { return nil }

func (l *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	used := l.begun > 1
	l.mu.Lock()
	if !used {
		l.seen[to]++
	}
	n := l.seen[to]
	l.mu.Unlock()
	l.to = to
	var code int
	switch _, err := fmt.Sscanf(to, "%d", &code); {
	case err == nil:
		return &smtp.SMTPError{Code: code, Message: "as its name says"}
	case strings.HasPrefix(to, "later") && (used || n == 1):
		return &smtp.SMTPError{Code: 451, Message: "come back"}
	case strings.HasPrefix(to, "hangs"):
		<-l.hang
	}
	return nil
}

func (l *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	l.mu.Lock()
	l.mails[l.to] = append(l.mails[l.to], string(text))
	n := len(l.mails[l.to])
	l.mu.Unlock()
	switch {
	case strings.HasPrefix(l.to, "holds") && n == 1:
		<-l.hang
	case strings.HasPrefix(l.to, "slow"):
		<-time.After(slowAnswer)
	}
	return err
}

// slowAnswer is longer than the request timeout of the test that uses it.
const slowAnswer = 300 * time.Millisecond

// TestRequestTimeoutDoesNotBoundMail: a mail server that takes longer than a webhook's receiver may
// gets one copy.
func TestRequestTimeoutDoesNotBoundMail(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) { c.RequestTimeout = slowAnswer / 10 })
	f.ruleWithMail("", "slow@acme.example")
	d := f.byReceiver(f.publish(event()).AlertIDs[0], 1)["mailto:slow@acme.example"]
	if d.State != herald.Delivered || len(d.Attempts) != 1 || len(smtpd.got("slow@acme.example")) != 1 {
		t.Errorf("%s with %+v, and %d copies", d.State, d.Attempts, len(smtpd.got("slow@acme.example")))
	}
}

// TestStopCutsAMailOffWithinItsBudget: the mail server has taken a mail and does not say so. A stop does
// not wait for the ten minutes that it may take. The mail may have been sent, which uses up no retry.
func TestStopCutsAMailOffWithinItsBudget(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) {
		c.StopBudget, c.MailSchedule = 500*time.Millisecond, []time.Duration{}
	})
	f.ruleWithMail("", "holds@acme.example")
	alert := f.publish(event()).AlertIDs[0]
	eventually(t, "the mail is taken", func() bool { return len(smtpd.got("holds@acme.example")) == 1 })
	began := time.Now()
	f.stop()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the stop took %v", took)
	}
	f.start()
	d := f.byReceiver(alert, 1)["mailto:holds@acme.example"]
	if d.State != herald.Delivered || len(d.Attempts) != 2 || d.Attempts[0].Outcome != herald.OutcomeUnknown || !strings.Contains(d.Attempts[0].Error, "may have been sent") {
		t.Errorf("%s with %+v", d.State, d.Attempts)
	}
}

func (f *fixture) ruleWithMail(webhook string, emails ...string) client.Rule {
	f.t.Helper()
	made, err := f.CreateRule(f.t.Context(), client.Rule{Type: "sync-failed", Notifiers: client.Notifiers{Webhook: webhook, Emails: emails}})
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

// byReceiver waits until the first n deliveries of an alert have ended, and returns them by
// address.
func (f *fixture) byReceiver(alert uuid.UUID, n int) map[string]client.Delivery {
	f.t.Helper()
	found := make(map[string]client.Delivery)
	eventually(f.t, "the alert's deliveries end", func() bool {
		clear(found)
		for i := range n {
			d, err := f.Delivery(f.t.Context(), herald.DeliveryID(alert, i))
			if err != nil {
				f.t.Fatal(err)
			}
			if d.State == herald.Pending {
				return false
			}
			found[d.Address] = d
		}
		return true
	})
	return found
}

// TestEachMailboxHasADeliveryOfItsOwn: each mailbox has its own outcome, whatever the server
// replies for another one.
func TestEachMailboxHasADeliveryOfItsOwn(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config)
	hook := newReceiver(t, nil)
	f.ruleWithMail(hook.URL, "a@acme.example, later@acme.example", "550@acme.example", "A@ACME.example", "452@acme.example")
	alert := f.publish(event()).AlertIDs[0]
	found := f.byReceiver(alert, 5)
	for receiver, want := range map[string]struct {
		state    herald.State
		reason   herald.Reason
		attempts int
		status   int
	}{
		hook.URL:                    {herald.Delivered, "", 1, 200},
		"mailto:a@acme.example":     {herald.Delivered, "", 1, 250},
		"mailto:later@acme.example": {herald.Delivered, "", 2, 250},
		"mailto:550@acme.example":   {herald.Failed, herald.ReasonStatus, 1, 550},
		"mailto:452@acme.example":   {herald.Failed, herald.ReasonExhausted, 3, 452},
	} {
		d, ok := found[receiver]
		if !ok || d.State != want.state || d.Reason != want.reason || len(d.Attempts) != want.attempts || d.Attempts[want.attempts-1].Status != want.status {
			t.Errorf("%s: %s (%s) with %+v, want %+v", receiver, d.State, d.Reason, d.Attempts, want)
		}
	}
	if mails := smtpd.got("a@acme.example"); len(mails) != 1 || !strings.Contains(mails[0], alert.String()) {
		t.Errorf("a has %q", mails)
	}
	again, err := f.Redeliver(t.Context(), found["mailto:a@acme.example"].ID)
	if err != nil || again.Address != "mailto:a@acme.example" {
		t.Fatalf("redeliver: %+v, %v", again, err)
	}
	eventually(t, "the mail is sent again", func() bool { return len(smtpd.got("a@acme.example")) == 2 })
}

// TestMailServerOfTheTestsRefusesLaterOnce: "later" takes two attempts, whatever connection it comes on.
func TestMailServerOfTheTestsRefusesLaterOnce(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config)
	rule := f.ruleWithMail("", "a@acme.example")
	f.byReceiver(f.publish(event()).AlertIDs[0], 1) // leaves an open connection
	rule.Notifiers.Emails = []string{"later@acme.example"}
	if _, err := f.UpdateRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	d := f.byReceiver(f.publish(event()).AlertIDs[0], 1)["mailto:later@acme.example"]
	if len(d.Attempts) != 2 || d.Attempts[0].Status != 451 || !d.Attempts[0].Request.Redialled || d.Attempts[1].Status != 250 {
		t.Errorf("attempts %+v, want a 451 on a second connection and then a 250", d.Attempts)
	}
}

// TestWebhookDoesNotWaitForMail: a mail server that hangs does not delay webhooks.
func TestWebhookDoesNotWaitForMail(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config)
	hook := newReceiver(t, nil)
	f.ruleWithMail(hook.URL, "hangs@acme.example")
	for range 50 {
		f.publish(event())
	}
	began := time.Now()
	eventually(t, "the webhooks arrive", func() bool { return len(hook.got()) == 50 })
	if smtpd.got("hangs@acme.example") != nil {
		t.Errorf("mail arrived after %v: the test shows nothing", time.Since(began))
	}
}

// TestWithoutAMailServer: the webhook is delivered and the mail fails with a reason.
func TestWithoutAMailServer(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	rule := f.ruleWithMail(hook.URL, "a@acme.example")
	found := f.byReceiver(f.publish(event()).AlertIDs[0], 2)
	if d := found["mailto:a@acme.example"]; d.State != herald.Failed || d.Reason != herald.ReasonNoMailServer {
		t.Errorf("the mail is %s (%s)", d.State, d.Reason)
	}
	if d := found[hook.URL]; d.State != herald.Delivered {
		t.Errorf("the webhook is %s", d.State)
	}
	rule.Notifiers.Emails = []string{"b@acme.example"}
	if _, err := f.UpdateRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	status, _, body := f.call(http.MethodPost, "/deliveries/"+found["mailto:a@acme.example"].ID.String()+"/redeliver", f.account.APIKey, "")
	if status != http.StatusConflict || !strings.Contains(string(body), "does not name the mailbox") {
		t.Errorf("redeliver to a mailbox that the rule does not name any more: %d %s", status, body)
	}
}

// TestReaderUnsubscribes: a reader stops the mail with the link of a mail, and the client allows it
// again.
func TestReaderUnsubscribes(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) { c.PublicURL = "https://herald.example/" })
	f.ruleWithMail("", "Ann@acme.example", "bob@acme.example")
	first := f.publish(event()).AlertIDs[0]
	f.byReceiver(first, 2)
	message, err := netmail.ReadMessage(strings.NewReader(smtpd.got("Ann@acme.example")[0]))
	if err != nil {
		t.Fatal(err)
	}
	path, found := strings.CutPrefix(message.Header.Get("List-Unsubscribe"), "<https://herald.example")
	path = strings.TrimSuffix(path, ">")
	if !found || message.Header.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click" || strings.Contains(strings.ToLower(path), "ann") {
		t.Fatalf("headers: %v", message.Header)
	}
	unsubscribed := func(want string) {
		t.Helper()
		if status, _, body := f.call(http.MethodGet, "/unsubscribed", f.account.APIKey, ""); status != 200 || !strings.Contains(body, want) {
			t.Errorf("unsubscribed: %d %s, want %s", status, body, want)
		}
	}
	if status, _, body := f.call(http.MethodGet, path, "", ""); status != 200 || !strings.Contains(body, "<button") || !strings.Contains(body, "Ann@acme.example") {
		t.Errorf("the link's page: %d %s", status, body)
	}
	unsubscribed(`"results":[]`) // following a link changes nothing
	if status, _, body := f.call(http.MethodPost, path[:len(path)-2]+"AA", "", ""); status != 404 {
		t.Errorf("an altered link: %d %s", status, body)
	}
	if status, _, body := f.call(http.MethodPost, path, "", "List-Unsubscribe=One-Click"); status != 200 {
		t.Errorf("one click: %d %s", status, body)
	}
	unsubscribed(`"address":"ann@acme.example"`)
	found2 := f.byReceiver(f.publish(event()).AlertIDs[0], 2)
	if d := found2["mailto:Ann@acme.example"]; d.State != herald.Cancelled || d.Reason != herald.ReasonUnsubscribed || len(d.Attempts) != 0 {
		t.Errorf("after that, Ann's delivery is %s (%s)", d.State, d.Reason)
	}
	if d := found2["mailto:bob@acme.example"]; d.State != herald.Delivered {
		t.Errorf("and Bob's is %s (%s)", d.State, d.Reason)
	}
	boxes, err := f.Unsubscribed(t.Context())
	if err != nil || len(boxes) != 1 || boxes[0].At.IsZero() {
		t.Errorf("unsubscribed: %+v, %v", boxes, err)
	}
	if err := f.Resubscribe(t.Context(), "ANN@acme.example"); err != nil {
		t.Error(err)
	}
	unsubscribed(`"results":[]`)
	if d := f.byReceiver(f.publish(event()).AlertIDs[0], 2)["mailto:Ann@acme.example"]; d.State != herald.Delivered {
		t.Errorf("restored, Ann's delivery is %s (%s)", d.State, d.Reason)
	}
}

// TestStormOfMail: a thousand alerts for one mailbox become eleven messages. No alert is lost,
// although the service is stopped meanwhile.
func TestStormOfMail(t *testing.T) {
	const window = 2 * time.Second
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) { c.MailLimit, c.MailWindow = 10, window })
	f.ruleWithMail("", "ann@acme.example")
	events := make([]client.Event, 1000)
	for i := range events {
		events[i] = event()
	}
	began := time.Now()
	receipts, err := f.PublishAll(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first mails", func() bool { return len(smtpd.got("ann@acme.example")) >= 10 })
	f.stop()
	f.start()
	for _, receipt := range receipts {
		for id, d := range f.byReceiver(receipt.AlertIDs[0], 1) {
			if d.State != herald.Delivered || d.Attempts[len(d.Attempts)-1].Status != 250 {
				t.Fatalf("%s: %s (%s) with %+v", id, d.State, d.Reason, d.Attempts)
			}
		}
	}
	allowed := 11
	if took := time.Since(began); took > 2*window { // on a slow machine the alerts take more than one window
		allowed += int(took / window)
	}
	if mails := smtpd.got("ann@acme.example"); len(mails) > allowed || allowed == 11 && !strings.Contains(mails[10], "990 alerts for Acme") {
		t.Errorf("%d messages, the last: %.600s", len(mails), mails[len(mails)-1])
	}
}
