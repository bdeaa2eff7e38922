package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// deliveriesCommand is `herald deliveries`.
type deliveriesCommand struct {
	List      deliveriesList      `cmd:"" help:"List the deliveries, newest first."`
	Get       deliveriesGet       `cmd:"" help:"Show a delivery and its attempts."`
	Why       deliveriesWhy       `cmd:"" help:"Explain a delivery: the cause, the evidence, what happens next."`
	Redeliver deliveriesRedeliver `cmd:"" help:"Send the same alert again, now."`
	Cancel    deliveriesCancel    `cmd:"" help:"End a pending delivery."`
}

var deliveryColumns = []cli.Column[client.Delivery]{
	{Head: "ID", Cell: func(d client.Delivery) string { return cli.ID(d.ID) }},
	{Head: "RAISED", Cell: func(d client.Delivery) string { return cli.Time(d.RaisedAt) }},
	{Head: "STATE", Cell: func(d client.Delivery) string { return d.State.String() }},
	{Head: "ATTEMPTS", Cell: func(d client.Delivery) string { return fmt.Sprint(d.AttemptCount) }},
	{Head: "NEXT", Cell: func(d client.Delivery) string { return cli.Time(d.NextAttemptAt) }},
	{Head: "TYPE", Cell: func(d client.Delivery) string { return d.Type }},
	{Head: "RECEIVER", Cell: func(d client.Delivery) string { return d.Address }},
	{Head: "REASON", Cell: func(d client.Delivery) string { return string(d.Reason) }},
}

// deliveryFilter are the flags that filter a list of deliveries.
type deliveryFilter struct {
	State    string    `help:"Only in this state." enum:",pending,delivered,failed,cancelled" default:""`
	Receiver string    `help:"Only to this address." placeholder:"URL"`
	Type     string    `help:"Only of this type of event."`
	Company  uuid.UUID `help:"Only about this company." placeholder:"ID"`
	Alert    uuid.UUID `help:"Only of this alert." placeholder:"ID"`
	Since    time.Time `help:"Only raised at this time or later, as in 2026-11-23T09:00:00Z." placeholder:"TIME"`
	Until    time.Time `help:"Only raised before this time." placeholder:"TIME"`
}

func (f deliveryFilter) filter() client.DeliveryFilter {
	return client.DeliveryFilter{State: f.State, Receiver: f.Receiver, Type: f.Type, Company: f.Company, Alert: f.Alert, Since: f.Since, Until: f.Until}
}

type deliveriesList struct {
	connection
	deliveryFilter
	Limit int       `help:"Deliveries to show, at most 500." default:"50"`
	After uuid.UUID `help:"Only those after this one." placeholder:"ID"`
}

// Run lists deliveries.
func (c *deliveriesList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	filter := c.filter()
	filter.Limit, filter.After = c.Limit, c.After
	var found []client.Delivery
	for d, err := range service.AllDeliveries(ctx, filter) {
		if err != nil {
			return err
		}
		if found = append(found, d); len(found) == c.Limit {
			break
		}
	}
	return cli.Write(out.stdout, out.stderr, c.Output, deliveryColumns, found)
}

// oneDelivery are the flags of commands about one delivery.
type oneDelivery struct {
	connection
	ID uuid.UUID `arg:"" help:"The delivery's id."`
}

func (c *oneDelivery) call(ctx context.Context, fn func(*client.API, context.Context, uuid.UUID) (client.Delivery, error)) (client.Delivery, error) {
	service, err := c.client()
	if err != nil {
		return client.Delivery{}, err
	}
	return fn(service, ctx, c.ID)
}

type deliveriesGet struct{ oneDelivery }

// Run shows a delivery.
func (c *deliveriesGet) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Delivery)
	if err != nil {
		return err
	}
	fields := deliveryColumns[:len(deliveryColumns):len(deliveryColumns)]
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
	why := cli.Why(d, time.Now())
	if c.Output == cli.Table {
		return cli.WriteWhy(out.stdout, why)
	}
	return cli.WriteOne(out.stdout, c.Output, nil, why)
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

type deliveriesCancel struct{ oneDelivery }

// Run cancels a delivery.
func (c *deliveriesCancel) Run(ctx context.Context, out *streams) error {
	d, err := c.call(ctx, (*client.API).Cancel)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, deliveryColumns, d)
}
