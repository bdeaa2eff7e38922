package settings

import (
	"errors"

	"herald"
)

// CheckNotifications checks who hears when a receiver fails, and after how many minutes or deliveries. checkURL refuses a
// webhook's address that may not be called.
func CheckNotifications(n herald.Notifications, checkURL func(raw string) error) (problems Problems) {
	add := func(member string, err error) {
		if known := (*herald.Error)(nil); errors.As(err, &known) {
			err = herald.Invalid(member, "%s", known.Message)
		}
		problems.add(member, err)
	}
	limit := func(member string, n, most int) {
		if n < 0 || n > most {
			problems.add(member, herald.Invalid(member, "%d is not from 0 to %d.", n, most))
		}
	}
	limit("failingAfterMinutes", n.AfterMinutes, herald.MaxAfterMinutes)
	limit("failingAfterDeliveries", n.AfterDeliveries, herald.MaxAfterDeliveries)
	if n.AfterMinutes == 0 && n.AfterDeliveries == 0 {
		problems.add("failingAfterMinutes", herald.Invalid("failingAfterMinutes", "Give a number of minutes or of deliveries, 1 or more."))
	}
	for member, all := range map[string][]string{"mailboxes": n.Mailboxes, "webhooks": n.Webhooks} {
		if len(all) > herald.MaxNotified {
			problems.add(member, herald.Invalid(member, "There are %d; at most %d are taken.", len(all), herald.MaxNotified))
		}
	}
	for _, box := range n.Mailboxes {
		_, err := herald.ParseMailbox(box)
		add("mailboxes", err)
	}
	for _, webhook := range n.Webhooks {
		add("webhooks", checkURL(webhook))
	}
	if len(n.Mailboxes)+len(n.Webhooks) == 0 {
		problems.add("mailboxes", herald.Invalid("mailboxes", "Nobody would hear: give a mailbox or a webhook, or switch the notifications off."))
	}
	return problems
}
