package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Delivery is one alert for one receiver. Only the methods API.Delivery and
// API.DeliveryWithBody set Attempts.
type Delivery struct {
	herald.Delivery
	Attempts []herald.Attempt `json:"attempts,omitempty"`
	// RequestBody is what every attempt sends; only API.DeliveryWithBody sets it.
	RequestBody string `json:"requestBody,omitempty"`
}

// DeliveryFilter selects deliveries. A member with the zero value selects all.
type DeliveryFilter struct {
	Cursor
	// State is pending, delivered, failed or cancelled.
	State    string
	Receiver string // the whole address, in any spelling; with herald.AnyQuery at its end, it with every query
	Type     string // of the event
	Company  uuid.UUID
	Alert    uuid.UUID
	Event    uuid.UUID
	Rule     uuid.UUID     // by which their alerts were raised; it may be deleted
	Reason   herald.Reason // of the delivery, of its last attempt, or for which it waits
	Status   string        // of the last attempt: one such as 503, or a class such as 5xx
	// Since and Until bound when the alert was raised, or a redelivery was made.
	Since, Until time.Time
}

// Deliveries lists deliveries, newest first. A page before the last can be short or
// even empty; only a Next of uuid.Nil marks the last page.
func (c *API) Deliveries(ctx context.Context, f DeliveryFilter) (Page[Delivery], error) {
	v := f.values()
	for name, value := range map[string]string{"state": f.State, "receiver": f.Receiver, "type": f.Type, "reason": string(f.Reason), "status": f.Status} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, id := range map[string]uuid.UUID{"company": f.Company, "alert": f.Alert, "event": f.Event, "rule": f.Rule} {
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

// DeliveryWithBody returns a delivery with its attempts and the body that they send.
func (c *API) DeliveryWithBody(ctx context.Context, id uuid.UUID) (Delivery, error) {
	return get[Delivery](ctx, c, "/deliveries/"+id.String(), url.Values{"body": {"true"}})
}

// RecoverFilter selects failed deliveries. A member with the zero value selects all, but one must
// be set.
type RecoverFilter struct {
	Receiver string        `json:"receiver,omitempty"` // the whole address, in any spelling; of a mailbox with or without mailto:
	Type     string        `json:"type,omitempty"`
	Company  uuid.UUID     `json:"company,omitzero"`
	Reason   herald.Reason `json:"reason,omitempty"` // of the delivery or of its last attempt
	// Since and Until bound when the alert was raised, or a redelivery was made.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// After continues: it is the Next of the call before.
	After uuid.UUID `json:"after,omitzero"`
}

// CountLost counts what Recover would deliver again, and makes nothing. If Next is set, the count
// goes on behind it.
func (c *API) CountLost(ctx context.Context, f RecoverFilter) (herald.Recovery, error) {
	return c.recover(ctx, f, true)
}

// Recover makes a new delivery of every failed one that f selects and whose alert has not reached its
// receiver since. A call makes at most 500; Next of the answer is the After of the call that continues.
// It is not retried, but repeating it does no harm: what is on its way is left out.
func (c *API) Recover(ctx context.Context, f RecoverFilter) (herald.Recovery, error) {
	return c.recover(ctx, f, false)
}

func (c *API) recover(ctx context.Context, f RecoverFilter, dryRun bool) (herald.Recovery, error) {
	body := struct {
		RecoverFilter
		DryRun bool `json:"dryRun"`
	}{f, dryRun}
	var answer herald.Recovery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/redeliver", body: body, into: &answer, repeatable: dryRun})
	return answer, err
}

// Redeliver makes a new delivery of the same alert to the rule's present address, due
// now, and returns it. It is not retried.
func (c *API) Redeliver(ctx context.Context, id uuid.UUID) (Delivery, error) {
	var d Delivery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/" + id.String() + "/redeliver", into: &d})
	return d, err
}

// Retry makes the next attempt of a pending delivery now, and returns the delivery. Repeating it does no
// harm, but it is not retried.
func (c *API) Retry(ctx context.Context, id uuid.UUID) (Delivery, error) {
	var d Delivery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/" + id.String() + "/retry", into: &d})
	return d, err
}

// Cancel cancels a pending delivery and returns it. It is not retried.
func (c *API) Cancel(ctx context.Context, id uuid.UUID) (Delivery, error) {
	var d Delivery
	err := c.do(ctx, call{method: http.MethodPost, path: "/deliveries/" + id.String() + "/cancel", into: &d})
	return d, err
}
