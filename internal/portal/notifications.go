package portal

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/settings"
)

// Notifications sets who hears when a receiver of a client fails.
type Notifications interface {
	Notifications(ctx context.Context, client uuid.UUID) (herald.Notifications, error)
	// SetNotifications replaces all; CodeConflict when the client would have too many rules.
	SetNotifications(ctx context.Context, by herald.Caller, client uuid.UUID, n herald.Notifications) error
	StopNotifications(ctx context.Context, by herald.Caller, client uuid.UUID) error
}

// notificationsView is what the page about notifications shows.
type notificationsView struct {
	Tabs   []tab
	Fields formFields
	Action string
	Reason string // why the visitor may save nothing
	On     bool
}

// notificationsForm has the fields with what was typed.
func notificationsForm(v visit, on bool, minutes, deliveries, mailboxes, webhooks string) notificationsView {
	return notificationsView{Tabs: settingsTabs(v.client, "/notifications"), Action: v.client.path("/settings/notifications"), Reason: v.mayNot(), On: on, Fields: formFields{
		{Name: "failingAfterMinutes", Label: "Minutes", Hint: "After a receiver has failed for so long. Empty: not by time.", Value: minutes, Kind: "text", Placeholder: "10"},
		{Name: "failingAfterDeliveries", Label: "Deliveries", Hint: "After so many deliveries to a receiver have failed for good. Empty: not by number.", Value: deliveries, Kind: "text", Placeholder: "100"},
		{Name: "mailboxes", Label: "Mailboxes", Hint: "One on a line, 20 at most.", Value: mailboxes, Kind: "lines"},
		{Name: "webhooks", Label: "Webhooks", Hint: "One on a line, 20 at most. They get the events herald.receiver.failing and herald.receiver.recovered.", Value: webhooks, Kind: "lines"},
	}}
}

// limitText is a limit in its field; 0 is none.
func limitText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// notifications shows who hears when a receiver fails, as a form.
func (p *portal) notifications(r *http.Request, v visit) (answer, error) {
	n, err := p.Notifications.Notifications(r.Context(), v.client.ID)
	show := notificationsForm(v, n.On, limitText(n.AfterMinutes), limitText(n.AfterDeliveries), strings.Join(n.Mailboxes, "\n"), strings.Join(n.Webhooks, "\n"))
	return page("notifications.html", "Notifications", show), err
}

// saveNotifications sets who hears, or switches the notifications off.
func (p *portal) saveNotifications(r *http.Request, v visit) (answer, error) {
	if r.PostForm.Get("do") == "off" {
		err := p.Notifications.StopNotifications(r.Context(), v.caller, v.client.ID)
		return seeOther("%s?notice=notifications-off", v.client.path("/settings/notifications")), err
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	n := herald.Notifications{On: true, Mailboxes: distinct(lines(get("mailboxes"))), Webhooks: distinct(lines(get("webhooks")))}
	var problems settings.Problems
	for name, into := range map[string]*int{"failingAfterMinutes": &n.AfterMinutes, "failingAfterDeliveries": &n.AfterDeliveries} {
		var err error
		if text := get(name); text != "" {
			if *into, err = strconv.Atoi(text); err != nil {
				problems = append(problems, &herald.Error{Code: herald.CodeInvalid, Member: name, Message: strconv.Quote(cutText(text, maxMember)) + " is no whole number."})
			}
		}
	}
	if problems = append(problems, settings.CheckNotifications(n, p.CheckURL)...); len(problems) > 0 {
		present, err := p.Notifications.Notifications(r.Context(), v.client.ID)
		show := notificationsForm(v, present.On, get("failingAfterMinutes"), get("failingAfterDeliveries"), get("mailboxes"), get("webhooks"))
		show.Fields.explain(problems)
		return wrongForm(page("notifications.html", "Notifications", show)), err
	}
	err := p.Notifications.SetNotifications(r.Context(), v.caller, v.client.ID, n)
	return seeOther("%s?notice=notifications-saved", v.client.path("/settings/notifications")), err
}

// distinct leaves out repeated texts.
func distinct(all []string) (some []string) {
	seen := make(map[string]bool)
	for _, text := range all {
		if !seen[text] {
			seen[text] = true
			some = append(some, text)
		}
	}
	return some
}
