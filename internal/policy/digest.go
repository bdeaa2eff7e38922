package policy

import (
	"time"

	"github.com/google/uuid"
)

// Digest is when the mails of one client to one mailbox become a digest: one mail
// that stands for many.
//
// A window begins with a mail. So many mails within it go by themselves. The first
// one over the limit becomes the carrier: it waits until the window ends and is
// sent as the digest. The others join it.
type Digest struct {
	// Limit is how many mails of a window go by themselves; 0: any number.
	Limit  int
	Window time.Duration
}

// MailWindow is what is known of one client's mails to one mailbox.
type MailWindow struct {
	Began time.Time
	// Sent is how many mails went by themselves since Began.
	Sent int
	// Carrier is the delivery that will be sent as the digest, or uuid.Nil.
	Carrier uuid.UUID
}

// MailAction is what happens to a mail that is about to be sent.
type MailAction int

// The actions.
const (
	SendMail    MailAction = iota // by itself, now
	SendDigest                    // now, for all that have joined it
	CarryDigest                   // it waits, and is the digest's carrier
	JoinDigest                    // it waits, and ends with the digest
)

// Waits says whether the mail is not sent now.
func (a MailAction) Waits() bool { return a == CarryDigest || a == JoinDigest }

// Decide returns what happens to a mail and the window after it. A mail has its
// turn once: a retry is sent again without counting.
func (d Digest) Decide(w MailWindow, delivery uuid.UUID, attempt int, now time.Time) (MailAction, MailWindow) {
	switch {
	case w.Carrier == delivery:
		return SendDigest, w
	case d.Limit == 0, attempt > 1:
		return SendMail, w
	case w.Carrier != uuid.Nil:
		return JoinDigest, w
	case !now.Before(d.End(w)):
		return SendMail, MailWindow{Began: now, Sent: 1}
	case w.Sent < d.Limit:
		w.Sent++
		return SendMail, w
	default:
		w.Carrier = delivery
		return CarryDigest, w
	}
}

// End returns when a window ends, which is when its digest is due.
func (d Digest) End(w MailWindow) time.Time { return w.Began.Add(d.Window) }
