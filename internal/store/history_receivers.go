package store

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/egress"
)

// maxSpellings bounds the spellings of a receiver in one statement. Rules may have one address in more, such as with
// capitals here and there; those beyond the bound are found by themselves alone.
const maxSpellings = 50

// sameReceiver is what deliveries and issues store of an address: all of it, as the client wrote it.
func sameReceiver(address string) string { return address }

// deliveryFilter is a filter with the spellings of its receiver; with anyQuery they stand for all that differ in
// their query alone.
type deliveryFilter struct {
	herald.DeliveryFilter
	receivers []string
	anyQuery  bool
}

// withSpellings adds the spellings of the receiver to a filter.
func (s *Store) withSpellings(ctx context.Context, client uuid.UUID, filter herald.DeliveryFilter) (f deliveryFilter, err error) {
	f.DeliveryFilter = filter
	receiver, anyQuery := strings.CutSuffix(f.Receiver, herald.AnyQuery)
	stored := sameReceiver
	if f.anyQuery = anyQuery; anyQuery {
		if receiver == "" {
			f.receivers = []string{""} // selects nothing
			return f, nil
		}
		if receiver == herald.ReceiverOf(receiver) { // else the rules' spellings with further queries are not looked up
			stored = herald.ReceiverOf
		}
	}
	f.receivers, err = s.spellings(ctx, client, receiver, stored)
	return f, err
}

// address adds the condition on a delivery's address.
func (c *conditions) address(alias string, f deliveryFilter) {
	if !f.anyQuery {
		c.receiver(alias+".address", f.receivers)
		return
	}
	var any []string
	for _, start := range f.receivers {
		place, n := c.bind(start), c.bind(utf8.RuneCountInString(start)+1)
		any = append(any, alias+".address = "+place+" OR substr("+alias+".address, 1, "+n+") IN ("+c.bind(start+"?")+", "+c.bind(start+"#")+")")
	}
	c.parts = append(c.parts, "("+strings.Join(any, " OR ")+")")
}

// spellings returns under which spellings a receiver is stored: those of its text, and those in which the
// client's rules have it. stored returns what is stored of an address. Without a receiver there are none.
// uuid.Nil stands for all clients, whose rules are too many to read.
func (s *Store) spellings(ctx context.Context, client uuid.UUID, receiver string, stored func(string) string) ([]string, error) {
	if receiver == "" {
		return nil, nil
	}
	var all []string
	add := func(spelling string) {
		if spelling = stored(spelling); len(all) < maxSpellings && !slices.Contains(all, spelling) {
			all = append(all, spelling)
		}
	}
	for _, spelling := range egress.ReceiverSpellings(receiver) {
		add(spelling)
	}
	canonical, err := egress.ParseReceiver(receiver)
	if err != nil || client == uuid.Nil || strings.HasPrefix(canonical, herald.MailScheme) {
		return all, nil
	}
	webhooks, err := list(ctx, s.lists, scanText, `SELECT DISTINCT webhook FROM rules WHERE client_id = $1 AND webhook <> ''`, client[:])
	if err != nil {
		return nil, s.failed("read the webhooks of rules", err)
	}
	for _, webhook := range webhooks {
		if is, err := egress.ParseReceiver(webhook); err == nil && stored(is) == stored(canonical) {
			add(webhook)
		}
	}
	return all, nil
}

// receiver adds the condition that a column is one of some spellings; none select all. Mailboxes are
// compared in lower case.
func (c *conditions) receiver(column string, spellings []string) {
	if len(spellings) == 0 {
		return
	}
	mail := strings.HasPrefix(spellings[0], herald.MailScheme)
	if mail {
		column = "lower(" + column + ")"
	}
	places := make([]string, len(spellings))
	for i, spelling := range spellings {
		if mail {
			spelling = strings.ToLower(spelling)
		}
		places[i] = c.bind(spelling)
	}
	c.parts = append(c.parts, column+" IN ("+strings.Join(places, ", ")+")")
}
