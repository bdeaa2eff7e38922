package explain

import (
	"fmt"
	"strings"
	"time"

	"herald"
)

// Repeats says in a sentence what other deliveries of the same alert did at the receiver of one that failed or
// was cancelled, and whether that is enough: one was delivered or is pending. The sentence is empty if there
// are none after it. others may have deliveries to other receivers, and the delivery itself.
func Repeats(d herald.Delivery, others []herald.Delivery, clock func(time.Time) string) (said string, enough bool) {
	var later herald.Delivery
	for _, o := range others {
		switch {
		case o.ID == d.ID || !sameReceiver(d.Address, o.Address):
		case o.State == herald.Delivered:
			return fmt.Sprintf("The alert reached this receiver with the delivery %s, at %s.", o.ID, clock(o.DoneAt)), true
		case o.State == herald.Pending:
			said, enough = fmt.Sprintf("The alert is being sent again, as the delivery %s.", o.ID), true
		case o.MadeAt.After(d.MadeAt) && !o.MadeAt.Before(later.MadeAt):
			later = o
		}
	}
	if enough || later.MadeAt.IsZero() {
		return said, enough
	}
	return fmt.Sprintf("It was sent again as the delivery %s, which %s.", later.ID, map[herald.State]string{herald.Failed: "failed too", herald.Cancelled: "was cancelled"}[later.State]), false
}

// sameReceiver reports whether two deliveries of an alert go to one receiver: to the rule's webhook, whatever its
// address was then, or to one mailbox.
func sameReceiver(a, b string) bool {
	boxA, mailA := strings.CutPrefix(a, herald.MailScheme)
	boxB, mailB := strings.CutPrefix(b, herald.MailScheme)
	return mailA == mailB && (!mailA || herald.MailboxKey(boxA) == herald.MailboxKey(boxB))
}
