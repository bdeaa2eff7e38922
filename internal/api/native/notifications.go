package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api/openapi"
)

// notificationsRequest describes the body that sets notifications.
type notificationsRequest struct {
	_          struct{} `additionalProperties:"false"`
	Minutes    int      `json:"failingAfterMinutes,omitempty" minimum:"0" maximum:"10080" doc:"How long a receiver has failed; 0 is not by time."`
	Deliveries int      `json:"failingAfterDeliveries,omitempty" minimum:"0" maximum:"1000000" doc:"How many deliveries to it have failed for good; 0 is not by number."`
	Mailboxes  []string `json:"mailboxes,omitempty" maxItems:"20" doc:"Who hears, by mail."`
	Webhooks   []string `json:"webhooks,omitempty" maxItems:"20" doc:"What hears, by webhook. It gets the profile's Authorization header."`
}

func (s *surface) registerNotifications() {
	tags := []string{"Notifications"}
	call(s, huma.Operation{
		OperationID: "getNotifications", Method: http.MethodGet, Path: "/notifications", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "Look up who hears when a receiver fails",
	}, withClientKey, func(r *http.Request, caller herald.Caller) (herald.Notifications, error) {
		n, err := s.Notifications.Notifications(r.Context(), caller.Key.ClientID)
		return withLists(n), err
	})
	call(s, huma.Operation{
		OperationID: "setNotifications", Method: http.MethodPut, Path: "/notifications", Tags: tags,
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusConflict},
		Summary: "Set who hears when a receiver fails",
		Description: "They hear once when a receiver has failed for the time or the number of deliveries, whichever comes first, and once when it has recovered. " +
			"Each is an alert of the type herald.receiver.failing or herald.receiver.recovered. " +
			"The call replaces all: the client's rules of these types become one for each webhook and one for the mailboxes. Needs at least one address, and one of the two limits.",
		RequestBody: openapi.RequestOf[notificationsRequest](s.API.OpenAPI()),
	}, withClientKey, s.setNotifications)
	call(s, huma.Operation{
		OperationID: "stopNotifications", Method: http.MethodDelete, Path: "/notifications", Tags: tags,
		DefaultStatus: http.StatusNoContent,
		Summary:       "Tell nobody when a receiver fails",
		Description:   "Deletes the client's rules of the types herald.receiver.failing and herald.receiver.recovered.",
	}, withClientKey, func(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
		return openapi.NoBody{}, s.Notifications.StopNotifications(r.Context(), caller, caller.Key.ClientID)
	})
}

// withLists makes absent lists empty ones in JSON.
func withLists(n herald.Notifications) herald.Notifications {
	if n.Mailboxes == nil {
		n.Mailboxes = []string{}
	}
	if n.Webhooks == nil {
		n.Webhooks = []string{}
	}
	return n
}

func (s *surface) setNotifications(r *http.Request, caller herald.Caller) (herald.Notifications, error) {
	var n herald.Notifications
	err := readObject(r, func(c *cursor, member string) (err error) {
		switch member {
		case "failingAfterMinutes":
			n.AfterMinutes, err = c.whole(0, herald.MaxAfterMinutes)
		case "failingAfterDeliveries":
			n.AfterDeliveries, err = c.whole(0, herald.MaxAfterDeliveries)
		case "mailboxes":
			n.Mailboxes, err = c.addresses(func(text string) error {
				_, err := herald.ParseMailbox(text)
				if err != nil {
					err = herald.Invalid("", "%s", err)
				}
				return err
			})
		case "webhooks":
			n.Webhooks, err = c.addresses(s.CheckURL)
		default:
			err = unknown("failingAfterMinutes, failingAfterDeliveries, mailboxes and webhooks")
		}
		return err
	})
	switch {
	case err != nil:
		return n, err
	case len(n.Mailboxes)+len(n.Webhooks) == 0:
		return n, herald.Invalid("", "Nobody would hear: give mailboxes or webhooks. DELETE /notifications switches them off.")
	case n.AfterMinutes == 0 && n.AfterDeliveries == 0:
		return n, nameMember(herald.Invalid("failingAfterMinutes", "missing; give it or failingAfterDeliveries, with a number of 1 or more"))
	}
	n.On = true
	return withLists(n), s.Notifications.SetNotifications(r.Context(), caller, caller.Key.ClientID, n)
}

// addresses reads a list of addresses, each of which check takes. It leaves out repeated ones.
func (c *cursor) addresses(check func(string) error) (all []string, err error) {
	if c.null() {
		return nil, nil
	}
	seen := make(map[string]bool)
	err = c.array(func(i int) error {
		if i >= herald.MaxNotified {
			return herald.Invalid("", "one too many; at most %d are taken", herald.MaxNotified)
		}
		if c.next() != '"' {
			return c.mistyped("an address")
		}
		text, err := c.text(1, maxReceiver)
		if err == nil {
			err = check(text)
		}
		if err == nil && !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
		return err
	})
	return all, err
}
