package main

import (
	"context"
	"fmt"
	"strings"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// notificationsCommand is `herald notifications`.
type notificationsCommand struct {
	Get notificationsGet `cmd:"" help:"Show who hears when a receiver fails."`
	Set notificationsSet `cmd:"" help:"Set who hears when a receiver fails: once, and once when it has recovered."`
	Off notificationsOff `cmd:"" help:"Tell nobody any more."`
}

var notificationFields = []cli.Column[herald.Notifications]{
	{Head: "ON", Cell: func(n herald.Notifications) string { return fmt.Sprint(n.On) }},
	{Head: "AFTER MINUTES", Cell: func(n herald.Notifications) string { return number(n.AfterMinutes) }},
	{Head: "AFTER DELIVERIES", Cell: func(n herald.Notifications) string { return number(n.AfterDeliveries) }},
	{Head: "MAILBOXES", Cell: func(n herald.Notifications) string { return strings.Join(n.Mailboxes, ", ") }},
	{Head: "WEBHOOKS", Cell: func(n herald.Notifications) string { return strings.Join(n.Webhooks, ", ") }},
}

// number is a limit; empty if there is none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

type notificationsGet struct{ connection }

// Run shows the notifications.
func (c *notificationsGet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	n, err := service.Notifications(ctx)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, notificationFields, n)
}

type notificationsSet struct {
	connection
	AfterMinutes    int      `help:"Tell when a receiver has failed for so many minutes." placeholder:"N"`
	AfterDeliveries int      `help:"Tell when so many deliveries to it have failed for good." placeholder:"N"`
	Email           []string `help:"A mailbox that hears. Can be given several times." placeholder:"ADDRESS"`
	Webhook         []string `help:"A webhook that hears. Can be given several times." placeholder:"URL" sep:"none"`
}

// Run sets the notifications.
func (c *notificationsSet) Run(ctx context.Context, out *streams) error {
	switch {
	case c.AfterMinutes == 0 && c.AfterDeliveries == 0:
		return usageError("nothing says when: give --after-minutes 10, or --after-deliveries, or both")
	case len(c.Email)+len(c.Webhook) == 0:
		return usageError("nobody would hear: give --email or --webhook")
	}
	service, err := c.client()
	if err != nil {
		return err
	}
	n, err := service.SetNotifications(ctx, client.NotificationSettings{AfterMinutes: c.AfterMinutes, AfterDeliveries: c.AfterDeliveries, Mailboxes: c.Email, Webhooks: c.Webhook})
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, notificationFields, n)
}

type notificationsOff struct{ connection }

// Run switches the notifications off.
func (c *notificationsOff) Run(ctx context.Context, _ *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	return service.StopNotifications(ctx)
}
