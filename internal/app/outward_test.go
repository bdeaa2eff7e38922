package app_test

import (
	"context"
	"net/http"
	netmail "net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

// TestMailsOfAClientInADayAreBounded: mails beyond the bound fail with a reason of their own, and count
// again when they are sent again.
func TestMailsOfAClientInADayAreBounded(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) { c.Outward.MailsPerDay, c.Outward.MailboxesPerDay = 3, 2 })
	f.ruleWithMail("", "ann@acme.example", "bob@acme.example", "cyd@acme.example")
	count := func() (delivered, refused int, last client.Delivery) {
		for _, d := range f.byReceiver(f.publish(event()).AlertIDs[0], 3) {
			switch {
			case d.State == herald.Delivered:
				delivered++
			case d.State == herald.Failed && d.Reason == herald.ReasonMailLimit && len(d.Attempts) == 0:
				refused, last = refused+1, d
			default:
				t.Errorf("%s: %s (%s) after %d attempts", d.Address, d.State, d.Reason, len(d.Attempts))
			}
		}
		return delivered, refused, last
	}
	day := time.Now().UTC().YearDay()
	first, refused, _ := count()
	second, _, last := count()
	if day != time.Now().UTC().YearDay() {
		t.Skip("a day in UTC ended during the test")
	}
	if first != 2 || refused != 1 || second != 1 {
		t.Errorf("%d and %d mails, want 2 of two mailboxes and 1 of the three mails", first, second)
	}
	again, err := f.Redeliver(t.Context(), last.ID)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mail that is sent again fails", func() bool {
		d, err := f.Delivery(t.Context(), again.ID)
		return err == nil && d.State == herald.Failed && d.Reason == herald.ReasonMailLimit
	})
}

// waitsFor waits until a delivery waits in the database for a reason.
func (f *fixture) waitsFor(id uuid.UUID, reason herald.Reason) {
	f.t.Helper()
	eventually(f.t, "the delivery waits: "+string(reason), func() bool {
		d, err := f.Delivery(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		if d.State != herald.Pending {
			f.t.Fatalf("the delivery is %s (%s)", d.State, d.Reason)
		}
		return strings.HasPrefix(d.Waiting, string(reason)+": ") && len(d.Attempts) == 0
	})
}

// TestMailboxConfirmsBeforeItGetsAlerts: the first mail has one link and nothing of the alert. The
// alerts go out when the reader presses the button.
func TestMailboxConfirmsBeforeItGetsAlerts(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) {
		c.PublicURL, c.Outward.ConfirmMailboxes = "https://herald.example/", true
	})
	const box = "ann@acme.example"
	f.ruleWithMail("", box)
	first, second := f.publish(event()).AlertIDs[0], f.publish(event()).AlertIDs[0]
	for _, alert := range []uuid.UUID{first, second} {
		f.waitsFor(herald.DeliveryID(alert, 0), herald.ReasonUnconfirmed)
	}
	eventually(t, "the mail that asks", func() bool { return len(smtpd.got(box)) == 1 })
	message := smtpd.got(box)[0]
	path := linkIn(t, message)
	if strings.Contains(message, company.String()) || strings.Contains(message, "Sync") {
		t.Errorf("the mail shows the alert:\n%s", message)
	}
	if status, _, body := f.call(http.MethodGet, path, "", ""); status != 200 || !strings.Contains(body, "<button") || !strings.Contains(body, box) {
		t.Errorf("the link's page: %d %s", status, body)
	}
	for _, wrong := range []string{path[:len(path)-2] + "AA", strings.Replace(path, "/confirm/", "/unsubscribe/", 1), "/confirm/x"} {
		if status, _, body := f.call(http.MethodPost, wrong, "", ""); status != 404 {
			t.Errorf("%s: %d %s", wrong, status, body)
		}
	}
	f.waitsFor(herald.DeliveryID(first, 0), herald.ReasonUnconfirmed) // following a link changes nothing
	for range 2 {
		if status, _, body := f.call(http.MethodPost, path, "", ""); status != 200 {
			t.Fatalf("the button: %d %s", status, body)
		}
	}
	third := f.publish(event()).AlertIDs[0]
	for _, alert := range []uuid.UUID{first, second, third} {
		for _, d := range f.byReceiver(alert, 1) {
			if d.State != herald.Delivered || len(d.Attempts) != 1 {
				t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
			}
		}
	}
	if n := len(smtpd.got(box)); n != 4 {
		t.Errorf("%d mails, want one that asks and three alerts", n)
	}
}

// linkIn returns the path of the one link in a mail's text.
func linkIn(t *testing.T, message string) string {
	t.Helper()
	parsed, err := netmail.ReadMessage(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(parsed.Header.Get("Message-ID"), "<confirm-") {
		t.Errorf("the Message-ID %s could be that of an alert", parsed.Header.Get("Message-ID"))
	}
	text := strings.ReplaceAll(message, "=\r\n", "") // quoted-printable
	links := make(map[string]bool)
	for _, found := range regexp.MustCompile(`https?://[^\s"<>]+`).FindAllString(text[strings.Index(text, "\r\n\r\n"):], -1) {
		links[strings.TrimPrefix(found, "https://herald.example")] = true
	}
	if len(links) != 1 {
		t.Fatalf("%d links in the mail: %v", len(links), links)
	}
	for link := range links {
		if !strings.HasPrefix(link, "/confirm/") || strings.Contains(link, "ann") {
			t.Fatalf("the link %s", link)
		}
		return link
	}
	return ""
}

// TestReaderWhoStoppedTheMailIsNotAsked: a mailbox whose reader stopped the mail is not asked.
func TestReaderWhoStoppedTheMailIsNotAsked(t *testing.T) {
	smtpd := newMailServer(t)
	f := newFixture(t, smtpd.config, func(c *app.Config) {
		c.PublicURL, c.Outward.ConfirmMailboxes, c.Outward.MailsPerDay = "https://herald.example", true, 1
	})
	f.ruleWithMail("", "ann@acme.example")
	f.waitsFor(herald.DeliveryID(f.publish(event()).AlertIDs[0], 0), herald.ReasonUnconfirmed)
	eventually(t, "the mail that asks", func() bool { return len(smtpd.got("ann@acme.example")) == 1 })
	message, err := netmail.ReadMessage(strings.NewReader(smtpd.got("ann@acme.example")[0]))
	if err != nil {
		t.Fatal(err)
	}
	stop := strings.TrimSuffix(strings.TrimPrefix(message.Header.Get("List-Unsubscribe"), "<https://herald.example"), ">")
	if status, _, body := f.call(http.MethodPost, stop, "", ""); status != 200 {
		t.Fatalf("%s: %d %s", stop, status, body)
	}
	for range 3 {
		for _, d := range f.byReceiver(f.publish(event()).AlertIDs[0], 1) {
			if d.State != herald.Cancelled || d.Reason != herald.ReasonUnsubscribed {
				t.Errorf("%s (%s)", d.State, d.Reason)
			}
		}
	}
	if n := len(smtpd.got("ann@acme.example")); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}

// consenting answers the OPTIONS request as told, and everything else with 200.
func consenting(header map[string]string) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			for name, value := range header {
				w.Header().Set(name, value)
			}
		}
	}
}

func (r *receiver) methods() string {
	var all []string
	for _, one := range r.got() {
		all = append(all, one.method)
	}
	return strings.Join(all, " ")
}

func withConsent(c *app.Config) {
	c.PublicURL, c.Outward.RequireConsent = "https://herald.example:8443/x", true
}

// TestReceiverConsentsBeforeItIsCalled: a receiver is asked once, and called only if it consents.
func TestReceiverConsentsBeforeItIsCalled(t *testing.T) {
	for _, test := range []struct {
		name     string
		header   map[string]string
		consents bool
	}{
		{"any origin", map[string]string{"WebHook-Allowed-Origin": "*"}, true},
		{"this origin", map[string]string{"webhook-allowed-origin": "Herald.example", "WebHook-Allowed-Rate": "*"}, true},
		{"a rate", map[string]string{"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "6000"}, true},
		{"no answer to the question", nil, false},
		{"another origin", map[string]string{"WebHook-Allowed-Origin": "herald.example.evil.example"}, false},
		{"a rate that is none", map[string]string{"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "0"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, withConsent)
			hook := newReceiver(t, consenting(test.header))
			f.rule(hook.URL+"/hook?key=1", uuid.Nil)
			first, second := f.publish(event()), f.publish(event())
			if !test.consents {
				for _, receipt := range []herald.Receipt{first, second} {
					f.waitsFor(herald.DeliveryID(receipt.AlertIDs[0], 0), herald.ReasonNoConsent)
				}
				if got := hook.methods(); got != "OPTIONS" {
					t.Errorf("the receiver got %s", got)
				}
				return
			}
			for _, receipt := range []herald.Receipt{first, second} {
				if d := f.ended(receipt); d.State != herald.Delivered || len(d.Attempts) != 1 {
					t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
				}
			}
			if got := hook.methods(); got != "OPTIONS POST POST" {
				t.Errorf("the receiver got %s", got)
			}
			asked := hook.got()[0]
			if asked.header.Get("WebHook-Request-Origin") != "herald.example" || asked.path != "/hook" || asked.header.Get("Authorization") != "" {
				t.Errorf("it was asked at %s with %v", asked.path, asked.header)
			}
			f.stop()
			f.start() // the consent is in the database
			if d := f.ended(f.publish(event())); d.State != herald.Delivered {
				t.Errorf("after a restart: %s (%s)", d.State, d.Reason)
			}
			if got := hook.methods(); got != "OPTIONS POST POST POST" {
				t.Errorf("after a restart, the receiver had got %s", got)
			}
		})
	}
}

// TestForbiddenReceiverFailsAtOnce: it does not wait for a consent that cannot come.
func TestForbiddenReceiverFailsAtOnce(t *testing.T) {
	f := newFixture(t, withConsent)
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	f.stop()
	f.config.AllowTargets = nil
	f.start()
	for range 2 {
		if d := f.ended(f.publish(event())); d.State != herald.Failed || d.Reason != herald.ReasonNotAllowed {
			t.Errorf("%s (%s)", d.State, d.Reason)
		}
	}
	if got := hook.methods(); got != "" {
		t.Errorf("the receiver got %s", got)
	}
}

// TestRedirectsNeedConsentToo: a receiver that consents cannot redirect to one that does not.
func TestRedirectsNeedConsentToo(t *testing.T) {
	f := newFixture(t, withConsent)
	victim := newReceiver(t, nil)
	consents := consenting(map[string]string{"WebHook-Allowed-Origin": "*"})
	hook := newReceiver(t, func(n int, w http.ResponseWriter, r *http.Request) {
		consents(n, w, r)
		if r.Method == http.MethodPost {
			http.Redirect(w, r, victim.URL, http.StatusTemporaryRedirect)
		}
	})
	f.rule(hook.URL, uuid.Nil)
	d := f.ended(f.publish(event()))
	if d.State != herald.Failed || d.Reason != herald.ReasonExhausted || d.Attempts[0].Reason != herald.ReasonNoConsent || d.Attempts[0].Status != http.StatusTemporaryRedirect {
		t.Errorf("%s (%s): %+v", d.State, d.Reason, d.Attempts)
	}
	if got := victim.methods(); got != "OPTIONS" {
		t.Errorf("the victim got %s", got)
	}
}

// TestAttemptsToOneAddressAreBounded: two clients with two names for one address share its attempts,
// nothing is lost, and waiting uses up no retry.
func TestAttemptsToOneAddressAreBounded(t *testing.T) {
	const perSecond, each = 20, 25
	f := newFixture(t, func(c *app.Config) { c.Outward.AttemptsPerAddress = perSecond })
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	f.rule(strings.Replace(hook.URL, "127.0.0.1", "localhost", 1), uuid.Nil)
	began := time.Now()
	var receipts []herald.Receipt
	for range each {
		receipts = append(receipts, f.publish(event()))
	}
	for _, receipt := range receipts {
		for _, alert := range receipt.AlertIDs {
			for _, d := range f.byReceiver(alert, 1) {
				if d.State != herald.Delivered || len(d.Attempts) != 1 {
					t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
				}
			}
		}
	}
	took := time.Since(began)
	allowed := int(took.Seconds()*perSecond) + 3
	if n := len(hook.got()); n != 2*each || n > allowed {
		t.Errorf("%d requests in %v, want %d and not more than %d", n, took, 2*each, allowed)
	}
}

// TestStopWhileDeliveriesWaitForAnAddress: they are handed back at once, and made after the start.
func TestStopWhileDeliveriesWaitForAnAddress(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.Outward.AttemptsPerAddress = 1 })
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	var receipts []herald.Receipt
	for range 10 {
		receipts = append(receipts, f.publish(event()))
	}
	eventually(t, "the first request", func() bool { return len(hook.got()) > 0 })
	f.stop()
	f.config.Outward.AttemptsPerAddress = 0
	f.start()
	for _, receipt := range receipts {
		if d := f.ended(receipt); d.State != herald.Delivered || len(d.Attempts) != 1 {
			t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
		}
	}
	if n := len(hook.got()); n != 10 {
		t.Errorf("%d requests, want 10", n)
	}
}

func TestBoundsThatCannotHoldRefuseTheStart(t *testing.T) {
	for want, config := range map[string]app.Config{
		"--confirm-mailboxes": {Outward: app.Outward{ConfirmMailboxes: true}},
		"--require-consent":   {Outward: app.Outward{RequireConsent: true}},
	} {
		config.DataDir, config.OperatorKeys, config.Listen = t.TempDir(), []string{operatorKey}, "127.0.0.1:0"
		if _, err := app.Start(context.Background(), config); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--public-url") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestWaitAtARedirectUsesUpNoRetry: the receiver that a redirect leads to allows no more requests for
// now. The attempt is on record, and the delivery goes on without a retry.
func TestWaitAtARedirectUsesUpNoRetry(t *testing.T) {
	f := newFixture(t, withConsent, func(c *app.Config) { c.RetrySchedule = []time.Duration{} })
	target := newReceiver(t, consenting(map[string]string{"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "1"}))
	f.rule(redirecting(t, target.URL), uuid.Nil)
	if d := f.ended(f.publish(event())); d.State != herald.Delivered {
		t.Fatalf("the first: %s (%s)", d.State, d.Reason)
	}
	id := herald.DeliveryID(f.publish(event()).AlertIDs[0], 0)
	var d client.Delivery
	eventually(t, "the second is attempted", func() bool {
		var err error
		d, err = f.Delivery(t.Context(), id)
		return err == nil && len(d.Attempts) > 0
	})
	if d.State != herald.Pending || d.Attempts[0].Reason != herald.ReasonAttemptLimit || d.Attempts[0].Status != http.StatusTemporaryRedirect {
		t.Errorf("the second: %s (%s) with %+v; want it to wait for its turn", d.State, d.Reason, d.Attempts)
	}
	if wait := time.Until(d.NextAttemptAt); wait < 30*time.Second || wait > 2*time.Minute {
		t.Errorf("the second waits for %v, want the receiver's minute", wait)
	}
}

// TestRedirectToAForbiddenAddressIsFinal: also where receivers must consent.
func TestRedirectToAForbiddenAddressIsFinal(t *testing.T) {
	f := newFixture(t, withConsent)
	f.rule(redirecting(t, "http://10.0.0.1/"), uuid.Nil)
	if d := f.ended(f.publish(event())); d.State != herald.Failed || d.Reason != herald.ReasonNotAllowed || len(d.Attempts) != 1 {
		t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
	}
}

// redirecting returns the address of a receiver that consents and redirects to another.
func redirecting(t *testing.T, target string) string {
	consents := consenting(map[string]string{"WebHook-Allowed-Origin": "*"})
	return newReceiver(t, func(n int, w http.ResponseWriter, r *http.Request) {
		consents(n, w, r)
		if r.Method == http.MethodPost {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		}
	}).URL
}
