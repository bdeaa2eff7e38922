package native

import (
	"encoding/json"
	"slices"

	"herald"
)

// Limits on a publication in addition to those of package herald, in characters.
const (
	maxTypeName = 200
	maxMessage  = herald.MaxMessage
)

const publicationMembers = "type, clientId, companyId, dataConnectionId, data, message, occurredAt and idempotencyKey"

// decodePublish reads the body of a publish: one event, or an array of them when many is
// true. An error is a *herald.Error that names the member; for an event of an array such
// as "[3].companyId". The decoder is hand-written because it runs for every event; see
// BenchmarkDecodePublish.
func decodePublish(body []byte) (pubs []herald.Publication, many bool, err error) {
	err = read(body, func(c *cursor) (err error) {
		switch c.next() {
		case '{':
			pubs = make([]herald.Publication, 1)
			return c.publication(&pubs[0])
		case '[':
			many = true
			pubs, err = c.publications()
			return err
		default:
			return c.mistyped("an event object or an array of them")
		}
	})
	return pubs, many, err
}

// ReadData reads an event's data: one JSON object, which it returns without blanks. The error is CodeInvalid and
// names the member, as in a publish.
func ReadData(text []byte) (json.RawMessage, error) {
	var data json.RawMessage
	err := read(text, func(c *cursor) (err error) {
		data, err = c.compact()
		return err
	})
	return data, err
}

func (c *cursor) publications() ([]herald.Publication, error) {
	var pubs []herald.Publication
	err := c.array(func(i int) error {
		if i == herald.MaxEvents {
			return herald.Errorf(herald.CodeTooLarge, "one request takes at most %d events; send the rest in another", herald.MaxEvents)
		}
		if i == 1 { // the others may be as long as the first
			pubs = slices.Grow(pubs, min(len(c.json)/c.at, herald.MaxEvents)-1)
		}
		pubs = append(pubs, herald.Publication{})
		return c.publication(&pubs[i])
	})
	if err == nil && len(pubs) == 0 {
		err = herald.Invalid("", "The array is empty; send 1 to %d events.", herald.MaxEvents)
	}
	return pubs, err
}

func (c *cursor) publication(p *herald.Publication) error {
	start := c.at
	err := c.object(func(member []byte) error { return c.publicationMember(p, member) })
	if err != nil {
		return err
	}
	if size := c.at - start; size > herald.MaxEventSize {
		return herald.Errorf(herald.CodeTooLarge, "an event of %d bytes; at most %d are taken", size, herald.MaxEventSize)
	}
	if p.Type == "" {
		return herald.Invalid("type", "missing; name an event type, as GET /eventTypes lists them")
	}
	return nil
}

// publicationMember reads the value of one member.
func (c *cursor) publicationMember(p *herald.Publication, member []byte) (err error) {
	switch string(member) {
	case "type":
		p.Type, err = c.text(1, maxTypeName)
	case "clientId":
		p.ClientID, err = c.id()
	case "companyId":
		p.CompanyID, err = c.id()
	case "dataConnectionId":
		p.ConnectionID, err = c.id()
	case "data":
		p.Data, err = c.compact()
	case "message":
		p.Message, err = c.text(0, maxMessage)
	case "occurredAt":
		p.OccurredAt, err = c.time()
	case "idempotencyKey":
		p.IdempotencyKey, err = c.text(1, herald.MaxIdempotencyKey)
	default:
		err = unknown(publicationMembers)
	}
	return err
}
