package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Delivery is one alert for one receiver. Only the method API.Delivery sets
// Attempts.
type Delivery struct {
	herald.Delivery
	Attempts []herald.Attempt `json:"attempts,omitempty"`
}

// DeliveryFilter selects deliveries. A member with the zero value selects all.
type DeliveryFilter struct {
	Cursor
	// State is pending, delivered, failed or cancelled.
	State    string
	Receiver string // the whole address
	Type     string // of the event
	Company  uuid.UUID
	Alert    uuid.UUID
	// Since and Until bound when the alert was raised.
	Since, Until time.Time
}

// Deliveries lists deliveries, newest first. A page before the last can be short or
// even empty; only a Next of uuid.Nil marks the last page.
func (c *API) Deliveries(ctx context.Context, f DeliveryFilter) (Page[Delivery], error) {
	v := f.values()
	for name, value := range map[string]string{"state": f.State, "receiver": f.Receiver, "type": f.Type} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, id := range map[string]uuid.UUID{"company": f.Company, "alert": f.Alert} {
		if id != uuid.Nil {
			v.Set(name, id.String())
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return get[Page[Delivery]](ctx, c, "/deliveries", v)
}

// AllDeliveries iterates over all pages of Deliveries. It ends with the first
// error.
func (c *API) AllDeliveries(ctx context.Context, f DeliveryFilter) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		for {
			page, err := c.Deliveries(ctx, f)
			if err != nil {
				yield(Delivery{}, err)
				return
			}
			for _, d := range page.Results {
				if !yield(d, nil) {
					return
				}
			}
			if page.Next == uuid.Nil {
				return
			}
			f.After = page.Next
		}
	}
}

// Delivery returns a delivery with its attempts.
func (c *API) Delivery(ctx context.Context, id uuid.UUID) (Delivery, error) {
	return get[Delivery](ctx, c, "/deliveries/"+id.String(), nil)
}

// Redeliver makes a new delivery of the same alert to the rule's present address, due
// now, and returns it. It is not retried.
func (c *API) Redeliver(ctx context.Context, id uuid.UUID) (Delivery, error) {
	var d Delivery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/" + id.String() + "/redeliver", into: &d})
	return d, err
}

// Cancel cancels a pending delivery and returns it. It is not retried.
func (c *API) Cancel(ctx context.Context, id uuid.UUID) (Delivery, error) {
	var d Delivery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/" + id.String() + "/cancel", into: &d})
	return d, err
}
