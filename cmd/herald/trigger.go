package main

import (
	"context"

	"github.com/google/uuid"

	"herald/client"
)

// triggerCommand is `herald trigger`.
type triggerCommand struct {
	connection
	Type           string    `arg:"" predictor:"type" help:"Type of event, in any spelling; herald types list shows them."`
	Client         uuid.UUID `help:"The client, needed with the operator's key." placeholder:"ID"`
	Company        uuid.UUID `help:"Whom the event is about; left out, a new company if the type needs one." placeholder:"ID"`
	DataConnection uuid.UUID `help:"The data connection concerned; left out, a new one if the type needs one." placeholder:"ID"`
	Data           string    `help:"The event's data, a JSON object; left out, the type's example." placeholder:"JSON"`
}

// Run publishes an example event.
func (c *triggerCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	kind, err := service.EventType(ctx, c.Type)
	if err != nil {
		return err
	}
	event := client.Event{Type: c.Type, ClientID: c.Client, CompanyID: c.Company, DataConnectionID: c.DataConnection, Data: kind.Example}
	if kind.Company && event.CompanyID == uuid.Nil {
		event.CompanyID = uuid.New()
	}
	if kind.Connection && event.DataConnectionID == uuid.Nil {
		event.DataConnectionID = uuid.New()
	}
	if c.Data != "" {
		if event.Data, err = readData(c.Data, out.stdin); err != nil {
			return err
		}
	}
	return c.publish(ctx, service, event, out)
}
