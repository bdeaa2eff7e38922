package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
	"herald/internal/explain"
	"herald/internal/secret"
)

// deliveriesCommand is `herald deliveries`.
type deliveriesCommand struct {
	List      deliveriesList      `cmd:"" help:"List the deliveries, newest first."`
	Get       deliveriesGet       `cmd:"" help:"Show a delivery and its attempts."`
	Why       deliveriesWhy       `cmd:"" help:"Explain a delivery: the cause, the evidence, what happens next."`
	Redeliver deliveriesRedeliver `cmd:"" help:"Send the same alert again, now."`
	Recover   deliveriesRecover   `cmd:"" help:"Send again what failed, such as during an outage of a receiver."`
	Retry     deliveriesRetry     `cmd:"" help:"Make the next attempt of a pending delivery now."`
	Cancel    deliveriesCancel    `cmd:"" help:"End a pending delivery."`
}

var deliveryColumns = []cli.Column[client.Delivery]{
	{Head: "ID", Cell: func(d client.Delivery) string { return cli.ID(d.ID) }},
	{Head: "MADE", Cell: func(d client.Delivery) string { return cli.Time(madeAt(d)) }},
	{Head: "STATE", Cell: func(d client.Delivery) string { return d.State.String() }},
	{Head: "ATTEMPTS", Cell: func(d client.Delivery) string { return fmt.Sprint(d.AttemptCount) }},
	{Head: "STATUS", Cell: statusOf},
	{Head: "REASON", Cell: reasonOf},
	{Head: "NEXT", Cell: func(d client.Delivery) string { return cli.Time(d.NextAttemptAt) }},
	{Head: "TYPE", Cell: func(d client.Delivery) string { return typeOf(d.Type, d.Test) }},
	{Head: "RECEIVER", Cell: func(d client.Delivery) string { return d.Address }},
	{Head: "REPEATS", Cell: func(d client.Delivery) string { return cli.ID(d.Repeats) }},
}

// madeAt is when a delivery was made: with its alert, or as a redelivery.
func madeAt(d client.Delivery) time.Time {
	if d.MadeAt.IsZero() {
		return d.RaisedAt
	}
	return d.MadeAt
}

// statusOf is the status of the last attempt, empty without one.
func statusOf(d client.Delivery) string {
	if d.LastStatus == 0 {
		return ""
	}
	return fmt.Sprint(d.LastStatus)
}

// reasonOf is the delivery's reason, or that of the last attempt. When retries are used up, the last
// attempt's says why.
func reasonOf(d client.Delivery) string {
	switch {
	case d.Reason == herald.ReasonNone:
		return string(d.LastReason)
	case d.LastReason == herald.ReasonNone || d.LastReason == d.Reason:
		return string(d.Reason)
	}
	return fmt.Sprintf("%s (%s)", d.Reason, d.LastReason)
}

// deliveryFilter are the flags that filter a list of deliveries.
type deliveryFilter struct {
	State    string        `help:"Only in this state." enum:",pending,delivered,failed,cancelled" default:""`
	Receiver string        `help:"Only to this address, in any spelling: of a webhook, or a mailbox. With ?* at its end: to it with every query." placeholder:"URL"`
	Type     string        `help:"Only of this type of event." predictor:"type"`
	Company  uuid.UUID     `help:"Only about this company." placeholder:"ID"`
	Alert    uuid.UUID     `help:"Only of this alert." placeholder:"ID"`
	Event    uuid.UUID     `help:"Only of this event." placeholder:"ID"`
	Rule     uuid.UUID     `help:"Only of alerts of this rule, which may be deleted." placeholder:"ID"`
	Reason   herald.Reason `help:"Only with this reason, of the delivery, of its last attempt, or for which it waits." placeholder:"REASON"`
	Status   string        `help:"Only with this status of the last attempt, such as 503, or 5xx for 500 to 599." placeholder:"STATUS"`
	Since    cli.Moment    `help:"Only made at this time or later: 2026-11-23T09:00:00Z, or 2h for two hours ago." placeholder:"TIME"`
	Until    cli.Moment    `help:"Only made before this time." placeholder:"TIME"`
}

func (f deliveryFilter) filter() client.DeliveryFilter {
	return client.DeliveryFilter{State: f.State, Receiver: f.Receiver, Type: f.Type, Company: f.Company, Alert: f.Alert, Event: f.Event, Rule: f.Rule, Reason: f.Reason, Status: f.Status,
		Since: f.Since.Time, Until: f.Until.Time}
}

type deliveriesList struct {
	connection
	forClient
	deliveryFilter
	Limit int       `help:"Deliveries to show, at most 500." default:"50"`
	After uuid.UUID `help:"Only those after this one." placeholder:"ID"`
}

// Run lists deliveries. A page of the service can be short and still not be the last.
func (c *deliveriesList) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	filter := c.filter()
	filter.Limit, filter.After = c.Limit, c.After
	found := client.Page[client.Delivery]{Results: []client.Delivery{}}
	for {
		page, err := service.Deliveries(ctx, filter)
		if err != nil {
			return err
		}
		found.Results, found.Next = append(found.Results, page.Results...), page.Next
		filter.After, filter.Limit = page.Next, c.Limit-len(found.Results)
		if page.Next == uuid.Nil || filter.Limit <= 0 {
			return cli.WritePage(out.stdout, out.stderr, c.Output, deliveryColumns, found.Results, found, moreAfter(found.Next))
		}
	}
}

// oneDelivery are the flags of commands about one delivery.
type oneDelivery struct {
	connection
	forClient
	ID uuid.UUID `arg:"" help:"The delivery's id."`
}

func (c *oneDelivery) call(ctx context.Context, fn func(*client.API, context.Context, uuid.UUID) (client.Delivery, error)) (client.Delivery, error) {
	service, err := c.of(c.client())
	if err != nil {
		return client.Delivery{}, err
	}
	return fn(service, ctx, c.ID)
}

type deliveriesGet struct {
	oneDelivery
	Body bool `help:"Show the body that every attempt sends, too."`
}

// Run shows a delivery.
func (c *deliveriesGet) Run(ctx context.Context, out *streams) error {
	get := (*client.API).Delivery
	if c.Body {
		get = (*client.API).DeliveryWithBody
	}
	d, err := c.call(ctx, get)
	if err != nil {
		return err
	}
	fields := append(deliveryColumns[:len(deliveryColumns):len(deliveryColumns)],
		cli.Column[client.Delivery]{Head: "REPEATED BY", Cell: func(d client.Delivery) string { return cli.ID(d.RepeatedBy) }},
		cli.Column[client.Delivery]{Head: "BODY", Cell: func(d client.Delivery) string { return d.RequestBody }})
	for _, a := range d.Attempts {
		fields = append(fields, cli.Column[client.Delivery]{Head: fmt.Sprintf("ATTEMPT %d", a.N), Cell: func(client.Delivery) string {
			return fmt.Sprintf("%s  %s  %d  %s  %.0f ms", cli.Time(a.At), a.Outcome, a.Status, a.Reason, a.Timings.Total)
		}})
	}
	return cli.WriteOne(out.stdout, c.Output, fields, d)
}

type deliveriesWhy struct{ oneDelivery }

// Run explains a delivery.
func (c *deliveriesWhy) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Delivery)
	if err != nil {
		return err
	}
	past, err := c.past(ctx, d)
	if err != nil {
		return err
	}
	why := cli.Why(d, past, time.Now())
	if explain.LacksAuthorization(d.Attempts) {
		why.Evidence = append(why.Evidence, c.profileEvidence(ctx, d.ClientID))
	}
	if c.Output == cli.Table {
		return cli.WriteWhy(out.stdout, why)
	}
	return cli.WriteOne(out.stdout, c.Output, nil, why)
}

// auditEntries is how many of the newest entries of the audit log are looked through for changes of the header.
const auditEntries = 100

// past finds out what happened at the receiver of a delivery that has not arrived. What the service refuses to
// tell is left out: an analyst does not see the audit log, and a search may take too long.
func (c *deliveriesWhy) past(ctx context.Context, d client.Delivery) (explain.Past, error) {
	service, err := forClient{d.ClientID}.of(c.client())
	if err != nil {
		return explain.Past{}, err
	}
	return pastOf(ctx, service, d)
}

// pastOf finds it for a delivery that did not arrive, with a service that asks for the delivery's client.
func pastOf(ctx context.Context, service *client.API, d client.Delivery) (explain.Past, error) {
	var past explain.Past
	if d.State == herald.Delivered {
		return past, nil
	}
	var err error
	if past.Others, err = othersOf(ctx, service, d); err != nil || len(d.Attempts) == 0 {
		return past, err
	}
	var refused *client.Error
	found, err := service.Deliveries(ctx, client.DeliveryFilter{State: herald.Delivered.String(), Receiver: d.Address, Cursor: client.Cursor{Limit: 1}})
	if errors.As(err, &refused) {
		return past, nil
	}
	if err != nil {
		return past, err
	}
	past.Searched = len(found.Results) > 0 || found.Next == uuid.Nil
	if len(found.Results) > 0 {
		past.LastSuccess = found.Results[0].DoneAt
	}
	if !explain.RefusesCaller(d.Attempts) {
		return past, nil
	}
	changes, err := service.Changes(ctx, client.ChangeFilter{Client: d.ClientID, Action: string(herald.ProfileUpdated), Cursor: client.Cursor{Limit: auditEntries}})
	if errors.As(err, &refused) {
		return past, nil
	}
	for _, change := range changes.Results {
		if explain.ChangesHeader(herald.Change{Action: herald.Action(change.Action), Before: change.Before, After: change.After}) {
			past.HeaderChanges = append(past.HeaderChanges, change.At)
		}
	}
	return past, err
}

// othersOf returns the deliveries of a delivery's alert, if others repeat it or it repeats others. Those that the
// service does not list are left out.
func othersOf(ctx context.Context, service *client.API, d client.Delivery) (others []herald.Delivery, err error) {
	if d.Repeats == uuid.Nil && d.RepeatedBy == uuid.Nil {
		return nil, nil
	}
	filter := client.DeliveryFilter{Alert: d.AlertID, Cursor: client.Cursor{Limit: herald.MaxDeliveries}}
	for range maxPages {
		page, err := service.Deliveries(ctx, filter)
		if refused := (*client.Error)(nil); errors.As(err, &refused) {
			return others, nil
		}
		if err != nil {
			return nil, err
		}
		for _, o := range page.Results {
			others = append(others, o.Delivery)
		}
		if filter.After = page.Next; page.Next == uuid.Nil {
			break
		}
	}
	return others, nil
}

// maxPages bounds the pages of one alert's deliveries that are read: most have one.
const maxPages = 10

func (c *oneDelivery) profile(ctx context.Context, of uuid.UUID) (client.Profile, error) {
	service, err := forClient{of}.of(c.client())
	if err != nil {
		return client.Profile{}, err
	}
	return service.Profile(ctx)
}

// profileEvidence says whether the client's profile has an Authorization header now. The attempt
// carried none, so either it was set later or the rule leaves it out.
func (c *oneDelivery) profileEvidence(ctx context.Context, of uuid.UUID) string {
	p, err := c.profile(ctx, of)
	switch {
	case err != nil:
		return "whether the profile has an Authorization header is not known: " + err.Error()
	case p.AlertAuthHeader == "":
		return "the profile has no Authorization header; set one with: herald profile set --auth-basic USER:PASSWORD, or --auth-bearer TOKEN"
	}
	return "the profile has an Authorization header now (" + secret.MaskAuthorization(p.AlertAuthHeader) + "): it was set after the attempt, or the rule leaves it out, or its address has changed"
}

type deliveriesRedeliver struct{ oneDelivery }

// Run makes a new delivery of the same alert.
func (c *deliveriesRedeliver) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Redeliver)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, deliveryColumns, d)
}

type deliveriesRetry struct{ oneDelivery }

// Run makes the next attempt now.
func (c *deliveriesRetry) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Retry)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, deliveryColumns, d)
}

type deliveriesCancel struct{ oneDelivery }

// Run cancels a delivery.
func (c *deliveriesCancel) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Cancel)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, deliveryColumns, d)
}
