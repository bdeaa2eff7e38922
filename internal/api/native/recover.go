package native

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
)

// recoverRequest describes the body that selects what is sent again. recoverDeliveries reads it.
type recoverRequest struct {
	_        struct{}  `additionalProperties:"false"`
	Receiver string    `json:"receiver,omitempty" doc:"Only deliveries to this address, in any spelling; of a mailbox with or without mailto:."`
	Type     string    `json:"type,omitempty" doc:"Only deliveries for events of this type, in any accepted spelling."`
	Company  uuid.UUID `json:"company,omitzero" doc:"Only deliveries for events about this company."`
	Reason   string    `json:"reason,omitempty" doc:"Only deliveries with this reason, of their own or of their last attempt."`
	Since    time.Time `json:"since,omitzero" doc:"Only deliveries raised then or later; redeliveries made then or later."`
	Until    time.Time `json:"until,omitzero" doc:"Only deliveries raised before then; redeliveries made before then."`
	After    uuid.UUID `json:"after,omitzero" doc:"The next of the answer that this call continues."`
	DryRun   bool      `json:"dryRun,omitempty" doc:"Whether to count only."`
}

const recoverMembers = "receiver, type, company, reason, since, until, after and dryRun"

// maxReceiver bounds a receiver's address in a filter, in characters.
const maxReceiver = 2048

func (s *surface) recoverDeliveries(r *http.Request, caller herald.Caller) (herald.Recovery, error) {
	f, dryRun, err := s.readRecovery(r)
	if err != nil {
		return herald.Recovery{}, err
	}
	return s.Sender.Recover(r.Context(), caller, caller.Client(), f, dryRun)
}

func (s *surface) readRecovery(r *http.Request) (f herald.DeliveryFilter, dryRun bool, err error) {
	err = readObject(r, func(c *cursor, member string) (err error) {
		var text string
		switch member {
		case "receiver":
			if text, err = c.text(1, maxReceiver); err == nil && text != "" {
				f.Receiver, err = parseReceiver(text)
			}
		case "type":
			if text, err = c.text(1, maxTypeName); err == nil && text != "" {
				f.Type, err = s.canonicalType(r.Context(), text)
			}
		case "company":
			f.Company, err = c.selectingID()
		case "reason":
			if text, err = c.text(1, maxTypeName); err == nil && text != "" {
				f.Reason, err = herald.ParseReason(text)
			}
		case "since":
			f.Since, err = c.time()
		case "until":
			f.Until, err = c.time()
		case "after":
			f.After, err = c.selectingID()
		case "dryRun":
			dryRun, err = c.flag()
		default:
			err = unknown(recoverMembers)
		}
		return err
	})
	if err == nil && f.Receiver == "" && f.Type == "" && f.Company == uuid.Nil && f.Reason == "" && f.Since.IsZero() && f.Until.IsZero() {
		err = herald.Invalid("", "Without a filter this would send again all that ever failed. Give at least one of receiver, type, company, reason, since and until.")
	}
	return f, dryRun, err
}

// selectingID reads an id of a filter. Like a parameter it may not be the GUID of zeros, which would select
// everything.
func (c *cursor) selectingID() (uuid.UUID, error) {
	if c.null() {
		return uuid.Nil, nil
	}
	id, err := c.id()
	if err == nil && id == uuid.Nil {
		err = herald.Invalid("", "the GUID of zeros is the id of nothing; leave the member out to select all")
	}
	return id, err
}
