package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

func (f *fixture) decideWithin(d work.Item, bounds policy.MailBounds) policy.MailAction {
	f.t.Helper()
	action, _, err := f.DecideMail(f.t.Context(), d, policy.Digest{Bounds: bounds})
	if err != nil {
		f.t.Fatal(err)
	}
	return action
}

// anotherDay moves everything that was counted one day back.
func (f *fixture) anotherDay() {
	f.t.Helper()
	for _, text := range []string{`UPDATE mail_days SET day = day - 1`, `UPDATE day_mails SET day = day - 1`} {
		if _, err := f.write.ExecContext(f.t.Context(), text); err != nil {
			f.t.Fatal(err)
		}
	}
}

// atTheEndOfADay runs a test again if a day in UTC ended meanwhile.
func atTheEndOfADay(t *testing.T, f *fixture, test func()) {
	t.Helper()
	before := policy.Day(time.Now())
	test()
	if policy.Day(time.Now()) != before {
		t.Skip("a day ended during the test")
	}
}

// TestMailsOfADayAreBounded: the mails of one client in one day are counted, each once, and those
// beyond the bound are refused until the next day.
func TestMailsOfADayAreBounded(t *testing.T) { onBoth(t, testMailsOfADayAreBounded) }

func testMailsOfADayAreBounded(t *testing.T, f *fixture) {
	bounds := policy.MailBounds{MailsPerDay: 3}
	all := append(f.acceptMails(2, "ann@acme.example"), f.acceptMails(3, "bob@acme.example")...)
	atTheEndOfADay(t, f, func() {
		for range 2 { // what was counted once is not counted again
			for n, d := range all {
				want := policy.SendMail
				if n >= 3 {
					want = policy.RefuseMail
				}
				if action := f.decideWithin(d, bounds); action != want {
					t.Errorf("mail %d: action %d, want %d", n, action, want)
				}
			}
		}
		acme := f.client
		f.client = f.newClient("Other")
		if action := f.decideWithin(f.acceptMails(1, "ann@acme.example")[0], bounds); action != policy.SendMail {
			t.Errorf("another client: action %d", action)
		}
		f.client = acme
		f.anotherDay()
		for n, d := range all[2:] {
			if action := f.decideWithin(d, bounds); action != policy.SendMail {
				t.Errorf("the next day, mail %d: action %d", n, action)
			}
		}
	})
}

func TestMailboxesOfADayAreBounded(t *testing.T) { onBoth(t, testMailboxesOfADayAreBounded) }

func testMailboxesOfADayAreBounded(t *testing.T, f *fixture) {
	bounds := policy.MailBounds{MailboxesPerDay: 2}
	atTheEndOfADay(t, f, func() {
		for _, step := range []struct {
			box  string
			want policy.MailAction
		}{
			{"ann@acme.example", policy.SendMail}, {"ANN@acme.example", policy.SendMail}, {"bob@acme.example", policy.SendMail},
			{"cyd@acme.example", policy.RefuseMail}, {"ann@acme.example", policy.SendMail}, {"dan@acme.example", policy.RefuseMail},
		} {
			if action := f.decideWithin(f.acceptMails(1, step.box)[0], bounds); action != step.want {
				t.Errorf("%s: action %d, want %d", step.box, action, step.want)
			}
		}
	})
}

// TestMailsFreedFromADeadNodeAreCounted: whatever number an attempt has.
func TestMailsFreedFromADeadNodeAreCounted(t *testing.T) {
	onBoth(t, testMailsFreedFromADeadNodeAreCounted)
}

func testMailsFreedFromADeadNodeAreCounted(t *testing.T, f *fixture) {
	all := f.acceptMails(2, "ann@acme.example")
	atTheEndOfADay(t, f, func() {
		for n, want := range []policy.MailAction{policy.SendMail, policy.RefuseMail} {
			all[n].Attempt = 2
			if action := f.decideWithin(all[n], policy.MailBounds{MailsPerDay: 1}); action != want {
				t.Errorf("mail %d: action %d, want %d", n, action, want)
			}
		}
	})
}

// TestMailboxMustConfirm: mails wait until the mailbox has confirmed, and the first one asks.
func TestMailboxMustConfirm(t *testing.T) { onBoth(t, testMailboxMustConfirm) }

func testMailboxMustConfirm(t *testing.T, f *fixture) {
	bounds := policy.MailBounds{Confirm: true, MaxAge: 7 * 24 * time.Hour}
	all := f.acceptMails(3, "Ann@acme.example")
	for n, want := range []policy.MailAction{policy.AskMailbox, policy.AwaitMailbox, policy.AwaitMailbox} {
		if action := f.decideWithin(all[n], bounds); action != want {
			t.Errorf("mail %d: action %d, want %d", n, action, want)
		}
		d, attempts := f.delivery(all[n].ID)
		wait := time.Until(d.NextAttemptAt)
		if d.State != herald.Pending || d.InFlight || len(attempts) != 0 || d.Waiting != unconfirmed("ann@acme.example") || wait < 23*time.Hour || wait > 25*time.Hour {
			t.Errorf("mail %d: %+v after %d attempts, due in %v", n, d, len(attempts), wait)
		}
	}
	if _, _, err := f.DecideMail(t.Context(), all[0], policy.Digest{Bounds: bounds}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("a mail that is not held: %v", err)
	}
	other := f.acceptMails(1, "bob@acme.example")[0]
	if action := f.decideWithin(other, bounds); action != policy.AskMailbox {
		t.Errorf("another mailbox: action %d", action)
	}
	for range 2 { // a second confirmation changes nothing
		if err := f.Confirm(t.Context(), operator, f.client.ID, "ANN@acme.example"); err != nil {
			t.Fatal(err)
		}
	}
	lane := work.Lane{Client: f.client.ID, Origin: herald.MailScheme}
	claimed, err := f.Claim(t.Context(), []work.Claim{{Lane: lane, N: 10, Bytes: plenty}}, plenty)
	items := claimed.Items
	if err != nil || len(items) != 3 {
		t.Fatalf("%d mails go on, %v; want Ann's three", len(items), err)
	}
	for _, d := range items {
		if action := f.decideWithin(d, bounds); action != policy.SendMail {
			t.Errorf("confirmed: action %d", action)
		}
	}
	entries, _, err := f.Changes(t.Context(), f.client.ID, herald.ChangeFilter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	confirmed := 0
	for _, entry := range entries {
		if entry.Action == herald.MailboxConfirmed && entry.Subject == "ann@acme.example" {
			confirmed++
		}
	}
	if confirmed != 1 {
		t.Errorf("%d entries in the audit log, want 1", confirmed)
	}
	wantCode(t, f.Confirm(t.Context(), operator, uuid.New(), "ann@acme.example"), herald.CodeNotFound)
}

// TestMailboxIsAskedOnceADay: and again soon if the mail that asked was not taken. The mail that asks
// counts.
func TestMailboxIsAskedOnceADay(t *testing.T) { onBoth(t, testMailboxIsAskedOnceADay) }

func testMailboxIsAskedOnceADay(t *testing.T, f *fixture) {
	bounds := policy.MailBounds{Confirm: true, MaxAge: 7 * 24 * time.Hour, MailsPerDay: 1}
	atTheEndOfADay(t, f, func() {
		first := f.acceptMails(1, "ann@acme.example")[0]
		if action := f.decideWithin(first, bounds); action != policy.AskMailbox {
			t.Fatalf("action %d", action)
		}
		if err := f.AskMailboxAgain(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if d, _ := f.delivery(first.ID); time.Until(d.NextAttemptAt) > policy.AskMailboxAgain {
			t.Errorf("asked again at %v", d.NextAttemptAt)
		}
		if action := f.decideWithin(f.acceptMails(1, "ann@acme.example")[0], bounds); action != policy.AwaitMailbox {
			t.Errorf("before that: action %d", action)
		}
		if _, err := f.write.ExecContext(t.Context(), `UPDATE confirmations SET ask_after = 0`); err != nil {
			t.Fatal(err)
		}
		if action := f.decideWithin(f.acceptMails(1, "ann@acme.example")[0], bounds); action != policy.AskMailbox {
			t.Errorf("after that: action %d", action)
		}
		if action := f.decideWithin(f.acceptMails(1, "bob@acme.example")[0], bounds); action != policy.AwaitMailbox {
			t.Errorf("beyond the bound of the day: action %d", action)
		}
	})
}

func TestOldMailBoundsAreDeleted(t *testing.T) { onBoth(t, testOldMailBoundsAreDeleted) }

func testOldMailBoundsAreDeleted(t *testing.T, f *fixture) {
	bounds := policy.MailBounds{Confirm: true, MailsPerDay: 100, MaxAge: time.Hour}
	for _, d := range append(f.acceptMails(1, "ann@acme.example"), f.acceptMails(1, "bob@acme.example")...) {
		f.decideWithin(d, bounds)
	}
	if err := f.Confirm(t.Context(), operator, f.client.ID, "ann@acme.example"); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ExpireMailBounds(t.Context()); n != 0 || err != nil {
		t.Errorf("%d rows deleted, %v; want none", n, err)
	}
	f.anotherDay()
	f.anotherDay()
	if _, err := f.write.ExecContext(t.Context(), `UPDATE confirmations SET ask_after = 0`); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ExpireMailBounds(t.Context()); n != 4 || err != nil { // one day, two mails, Bob
		t.Errorf("%d rows deleted, %v; want 4", n, err)
	}
}
