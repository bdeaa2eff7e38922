package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// searchLimit is how many alerts a list looks at one by one. What is asked of
// more is refused, or answered in parts, at once and on every machine alike,
// rather than after the deadline on some: both databases look at this many in
// well under 100 ms (docs/performance.md).
const searchLimit = 40_000

// span is a range of ids: from one to before another.
type span struct{ from, to uuid.UUID }

// lastID is behind all ids.
var lastID = uuid.Max

func (s *span) after(id uuid.UUID) {
	if bytes.Compare(id[:], s.from[:]) > 0 {
		s.from = id
	}
}

func (s *span) before(id uuid.UUID) {
	if bytes.Compare(id[:], s.to[:]) < 0 {
		s.to = id
	}
}

// search is what a list of alerts is asked for.
type search struct {
	client, rule uuid.UUID // a rule of uuid.Nil is every rule
	span
	rest query.Node // what has to be looked at one by one; nil for nothing
}

// narrow takes from a query what an index or a tally answers: when alerts were
// raised, which is in their ids, and by which rule. The rest stays.
func (s *search) narrow(n query.Node) {
	switch n := n.(type) {
	case nil:
		return
	case query.And:
		s.narrow(n.Left)
		s.narrow(n.Right)
		return
	case query.Clause:
		id, isID := n.Value.(uuid.UUID)
		switch {
		case !isID || n.Op != query.Equal:
		case n.Field.Name == "ruleId" && (s.rule == uuid.Nil || s.rule == id):
			s.rule = id
			return
		case n.Field.Name == "id":
			s.after(id)
			s.before(herald.DeliveryID(id, 1)) // no alert has that id
			return
		}
		if at, ok := n.Value.(time.Time); ok && s.raised(n.Op, at) {
			return
		}
	}
	if s.rest == nil {
		s.rest = n
	} else {
		s.rest = query.And{Left: s.rest, Right: n}
	}
}

// raised narrows the span to what was raised before, at or after an instant, and
// reports whether that is one span.
func (s *search) raised(op query.Op, at time.Time) bool {
	instant := instantOf(at)
	switch op {
	case query.Less:
		s.before(instant.from)
	case query.LessOrEqual:
		s.before(instant.to)
	case query.Greater:
		s.after(instant.to)
	case query.GreaterOrEqual:
		s.after(instant.from)
	case query.Equal:
		s.after(instant.from)
		s.before(instant.to)
	default:
		return false
	}
	return true
}

// instantOf is the ids of what was raised at an instant, by the microsecond.
func instantOf(at time.Time) span {
	return span{herald.FirstIDAt(at), herald.FirstIDAt(at.Truncate(time.Microsecond).Add(time.Microsecond))}
}

// Alerts lists a page of a client's alerts and counts them all; a rule or a
// company other than uuid.Nil leaves only theirs. What there is too much to
// search for is CodeUnavailable, and says how to narrow it.
func (s *Store) Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	keptFrom, err := first(ctx, s.read, scanID, `SELECT kept_from FROM history`)
	if err != nil {
		return nil, 0, s.failed("read how far history reaches", err)
	}
	q := search{client: client, rule: rule, span: span{keptFrom, lastID}}
	q.narrow(l.Where)
	count, err := s.countAlerts(ctx, q)
	if err != nil {
		return nil, 0, s.failed("count alerts", err)
	}
	if q.rest == nil && company == uuid.Nil {
		return s.pageOfAll(ctx, q, l, count)
	}
	if count.total > s.searchLimit {
		return nil, 0, s.tooMany(ctx, q, count)
	}
	return s.pageOfFound(ctx, q, company, l)
}

// pageOfAll is a page of what needs no looking at.
func (s *Store) pageOfAll(ctx context.Context, q search, l query.List, count alertCount) ([]herald.Alert, int, error) {
	if l.Offset() >= count.total {
		return nil, count.total, nil
	}
	place, skip, err := s.findPlace(ctx, q, l, count)
	if err != nil {
		return nil, 0, s.failed("find a page of alerts", err)
	}
	c := q.conditions()
	c.add("a.id >= %s", place.from)
	c.add("a.id < %s", place.to)
	alerts, err := s.alertsOf(ctx, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id`+direction(l.Order)+
		` LIMIT `+c.place(l.PageSize)+` OFFSET `+c.place(skip), c.args, l.Order)
	return alerts, count.total, s.failed("list alerts", err)
}

// conditions are those on the client and the rule.
func (s *search) conditions() *conditions {
	c := &conditions{columns: map[string]string{
		"id": "a.id", "companyId": "a.company_id", "clientId": "a.client_id", "ruleId": "a.rule_id", "ruleType": "a.type",
		"dataConnectionId": "e.connection_id", "message": "a.message", "raisedOnUtc": "a.id",
	}}
	c.add("a.client_id = %s", s.client)
	if s.rule != uuid.Nil {
		c.add("a.rule_id = %s", s.rule)
	}
	return c
}

// pageOfFound is a page of what was found by looking at all.
func (s *Store) pageOfFound(ctx context.Context, q search, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	c := q.conditions()
	c.add("a.id >= %s", q.from)
	c.add("a.id < %s", q.to)
	if company != uuid.Nil {
		c.add("a.company_id = %s", company)
	}
	c.narrow(q.rest)
	from := ` FROM alerts a`
	if c.uses("e") {
		from = alertsFrom
		c.add("e.id >= %s", herald.EventOf(q.from)) // which follows, and the planner does not know
		c.add("e.id < %s", q.to)
	}
	var total int
	alerts, err := list(ctx, s.read, func(rows *sql.Rows) (herald.Alert, error) { return scanAlertAnd(rows, &total) },
		`SELECT `+alertColumns+`, p.total FROM (SELECT a.id, count(*) OVER () AS total`+from+` WHERE `+c.where()+` ORDER BY a.id`+direction(l.Order)+
			` LIMIT `+c.place(l.PageSize)+` OFFSET `+c.place(l.Offset())+`) p JOIN alerts a ON a.id = p.id JOIN events e ON e.id = a.event_id
ORDER BY p.id`+direction(l.Order), c.args...)
	if err == nil && len(alerts) == 0 && l.Offset() > 0 { // behind the last page
		n, err := first(ctx, s.read, scanInt, `SELECT count(*)`+from+` WHERE `+c.where(), c.args[:len(c.args)-2]...)
		return nil, int(n), s.failed("count alerts", err)
	}
	return alerts, total, s.failed("search alerts", err)
}

// tooMany says how to ask for less: since when there are no more alerts than are
// looked at.
func (s *Store) tooMany(ctx context.Context, q search, count alertCount) error {
	hours, err := s.hours(ctx, q, count, query.Order{Desc: true})
	if err != nil {
		return s.failed("count alerts", err)
	}
	var since time.Time
	n := count.tail + count.open
	for _, h := range hours {
		if n += h.n; n > s.searchLimit {
			break
		}
		since = h.at
	}
	example := ""
	if !since.IsZero() {
		example = ", for example raisedOnUtc>=" + since.Format(time.RFC3339)
	}
	return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: -1, Message: fmt.Sprintf(
		"This query would search %d alerts, and a list searches at most %d. Say in it when they were raised%s, or by which rule (ruleId).",
		count.total, s.searchLimit, example)}
}
