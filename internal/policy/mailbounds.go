package policy

import "time"

// Times between the questions to a mailbox whether it takes a client's mail.
const (
	// AskMailboxEvery is the shortest time between two mails that ask.
	AskMailboxEvery = day
	// AskMailboxAgain is how long after a mail that asks and that was certainly not taken the next
	// one is sent. Servers with greylisting take a mail after some minutes.
	AskMailboxAgain = 15 * time.Minute
)

// MailBounds bound the mails that one client causes. The zero value bounds nothing.
type MailBounds struct {
	// MailsPerDay is how many mails a client causes in a day in UTC, MailboxesPerDay to how many
	// mailboxes; 0 means any number. A delivery counts on each day on which it is tried, once.
	MailsPerDay, MailboxesPerDay int
	// Confirm makes mails to a mailbox wait until its reader has confirmed.
	Confirm bool
	// MaxAge is how long a mail waits for that.
	MaxAge time.Duration
}

// Any reports whether anything is bounded.
func (b MailBounds) Any() bool { return b.MailsPerDay > 0 || b.MailboxesPerDay > 0 || b.Confirm }

// PerDay reports whether there is a bound for a day.
func (b MailBounds) PerDay() bool { return b.MailsPerDay > 0 || b.MailboxesPerDay > 0 }

// MailDay is what one client has caused in one day.
type MailDay struct{ Mails, Mailboxes int }

// Allow decides on one more mail. It returns the day with that mail, or false if a bound is reached.
func (b MailBounds) Allow(d MailDay, newMailbox bool) (MailDay, bool) {
	d.Mails++
	if newMailbox {
		d.Mailboxes++
	}
	over := b.MailsPerDay > 0 && d.Mails > b.MailsPerDay || newMailbox && b.MailboxesPerDay > 0 && d.Mailboxes > b.MailboxesPerDay
	return d, !over
}

// Day returns the number of the day in UTC.
func Day(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

// NextDay returns how long it is until the next day in UTC begins.
func NextDay(t time.Time) time.Duration { return t.Truncate(day).Add(day).Sub(t) }
