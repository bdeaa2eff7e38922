package policy

import (
	"time"

	"github.com/google/uuid"
)

// Digest says when the mails of one client to one mailbox become a digest: one mail that lists many
// alerts.
//
// The first mail starts a window. The first Limit mails of a window are sent by themselves. The
// next one becomes the carrier: it waits until the window ends and is sent as the digest. The mails
// after it join the digest.
type Digest struct {
	// Limit is how many mails of a window are sent by themselves; 0 means any number.
	Limit  int
	Window time.Duration
	// Bounds are decided on together with the digest.
	Bounds MailBounds
}

// MailWindow is the state of one client's mails to one mailbox.
type MailWindow struct {
	Began time.Time
	// Sent is how many mails were sent by themselves since Began.
	Sent int
	// Carrier is the delivery that will be sent as the digest, or uuid.Nil.
	Carrier uuid.UUID
}

// MailAction is what happens to a mail that is about to be sent.
type MailAction int

// The actions.
const (
	SendMail     MailAction = iota // send it now, by itself
	SendDigest                     // send the digest now, for all mails that have joined it
	CarryDigest                    // it waits and is the carrier of the digest
	JoinDigest                     // it waits and ends with the digest
	RefuseMail                     // it fails: the client has had its mails or mailboxes of the day
	AwaitMailbox                   // it waits until the mailbox has confirmed
	AskMailbox                     // the same, and the mailbox is asked now
)

// Waits is true if the mail is not sent now.
func (a MailAction) Waits() bool {
	return a == CarryDigest || a == JoinDigest || a == AwaitMailbox || a == AskMailbox
}

// maxWindowAhead is how far ahead a window can have begun. One that began later was begun while
// the clock was ahead, and would not end in time.
const maxWindowAhead = time.Minute

// Decide returns what happens to a mail, and the window after that. retry is true if the mail has
// been tried by itself before: it was counted then, and is sent by itself again.
func (d Digest) Decide(w MailWindow, delivery uuid.UUID, retry bool, now time.Time) (MailAction, MailWindow) {
	switch {
	case w.Carrier == delivery:
		return SendDigest, w
	case d.Limit == 0, retry:
		return SendMail, w
	case w.Carrier != uuid.Nil:
		return JoinDigest, w
	case !now.Before(d.End(w)), w.Began.Sub(now) > maxWindowAhead:
		return SendMail, MailWindow{Began: now, Sent: 1}
	case w.Sent < d.Limit:
		w.Sent++
		return SendMail, w
	default:
		w.Carrier = delivery
		return CarryDigest, w
	}
}

// End returns the end of a window. The digest of the window is due then.
func (d Digest) End(w MailWindow) time.Time { return w.Began.Add(d.Window) }
