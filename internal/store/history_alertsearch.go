package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// searchLimit is how many alerts a list may search one by one. A list over more is refused,
// or returned in parts. So the result does not depend on the machine's speed, as it would
// with a deadline alone. Both databases search this many in well under 100 ms
// (docs/performance.md).
const searchLimit = 40_000

// span is a range of ids: from is included, to is not.
type span struct{ from, to uuid.UUID }

// lastID is greater than all ids.
var lastID = uuid.Max

// after excludes the ids smaller than id.
func (s *span) after(id uuid.UUID) {
	if bytes.Compare(id[:], s.from[:]) > 0 {
		s.from = id
	}
}

// before excludes id and the ids greater than it.
func (s *span) before(id uuid.UUID) {
	if bytes.Compare(id[:], s.to[:]) < 0 {
		s.to = id
	}
}

// search is the query of a list of alerts, split by how each part is answered.
type search struct {
	client, rule uuid.UUID // uuid.Nil means every rule
	span
	rest query.Node // the part that has to be searched alert by alert; nil for none
}

// addQuery adds the condition of a query. The conditions that an index or a tally answers
// go into span and rule: when alerts were raised, which their ids hold, and by which rule.
// The others go into rest.
func (s *search) addQuery(n query.Node) {
	switch n := n.(type) {
	case nil:
		return
	case query.And:
		s.addQuery(n.Left)
		s.addQuery(n.Right)
		return
	case query.Clause:
		id, isID := n.Value.(uuid.UUID)
		switch {
		case !isID || n.Op != query.Equal:
		case id == uuid.Nil: // nothing has this id, and in rule it means every rule
			s.before(uuid.Nil)
			return
		case n.Field.Name == "ruleId" && (s.rule == uuid.Nil || s.rule == id):
			s.rule = id
			return
		case n.Field.Name == "id":
			s.after(id)
			s.before(herald.DeliveryID(id, 1)) // the next id, which no alert has
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

// raised limits the span to alerts raised before, at or after an instant. It reports false
// for an operator whose matches are not one span.
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

// instantOf returns the ids of alerts raised at an instant, which lasts a microsecond.
func instantOf(at time.Time) span {
	return span{herald.FirstIDAt(at), herald.FirstIDAt(at.Truncate(time.Microsecond).Add(time.Microsecond))}
}

// Alerts returns a page of a client's alerts and the number of all that match. Unless they
// are uuid.Nil, only alerts by rule and of company match. When more alerts than searchLimit
// would have to be searched, the error is CodeUnavailable and says how to limit the query.
func (s *Store) Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) (alerts []herald.Alert, total int, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	err = s.inSnapshot(ctx, func(tx *sql.Tx) error {
		alerts, total, err = s.alertsIn(ctx, tx, client, rule, company, l)
		return err
	})
	return alerts, total, s.failed("list alerts", err)
}

// inSnapshot runs fn in a transaction that sees one state of the database: the counts of a list
// and its page must belong together. It ends with its reads, because an open snapshot keeps
// dead rows.
func (s *Store) inSnapshot(ctx context.Context, fn func(*sql.Tx) error) error {
	o := sql.TxOptions{ReadOnly: true} // a transaction of SQLite is a snapshot
	if s.dialect.shared {
		o.Isolation = sql.LevelRepeatableRead
	}
	tx, err := s.lists.BeginTx(ctx, &o)
	if err != nil {
		return withContextError(ctx, err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return withContextError(ctx, tx.Commit())
}

func (s *Store) alertsIn(ctx context.Context, tx *sql.Tx, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	keptFrom, err := first(ctx, tx, scanID, `SELECT kept_from FROM history`)
	if err != nil {
		return nil, 0, s.failed("read how far history reaches", err)
	}
	q := search{client: client, rule: rule, span: span{keptFrom, lastID}}
	q.addQuery(l.Where)
	count, err := countAlerts(ctx, tx, q)
	if err != nil {
		return nil, 0, s.failed("count alerts", err)
	}
	if q.rest == nil && company == uuid.Nil {
		return s.pageByTallies(ctx, tx, q, l, count)
	}
	if count.total > s.searchLimit {
		return nil, 0, s.tooManyAlerts(ctx, tx, q, count)
	}
	return s.pageBySearch(ctx, tx, q, company, l)
}

// pageByTallies returns a page of a search without rest. The tallies count it.
func (s *Store) pageByTallies(ctx context.Context, tx *sql.Tx, q search, l query.List, count alertCount) ([]herald.Alert, int, error) {
	if l.Offset() >= count.total {
		return nil, count.total, nil
	}
	page, skip, err := findPageStart(ctx, tx, q, l, count)
	if err != nil {
		return nil, 0, s.failed("find a page of alerts", err)
	}
	c := q.conditions()
	c.add("a.id >= %s", page.from)
	c.add("a.id < %s", page.to)
	alerts, err := alertsOf(ctx, tx, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id`+direction(l.Order)+
		` LIMIT `+c.bind(l.PageSize)+` OFFSET `+c.bind(skip), c.args, l.Order)
	return alerts, count.total, s.failed("list alerts", err)
}

// conditions returns the conditions on the client and the rule.
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

// pageBySearch returns a page of a search that reads every alert of its span.
func (s *Store) pageBySearch(ctx context.Context, tx *sql.Tx, q search, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	c := q.conditions()
	c.add("a.id >= %s", q.from)
	c.add("a.id < %s", q.to)
	if company != uuid.Nil {
		c.add("a.company_id = %s", company)
	}
	c.addQuery(q.rest)
	from := ` FROM alerts a`
	if c.uses("e") {
		from = alertsFrom
		c.add("e.id >= %s", herald.EventOf(q.from)) // follows from a.id, which the planner does not know
		c.add("e.id < %s", q.to)
	}
	var total int
	alerts, err := listAlerts(ctx, tx,
		`SELECT `+alertColumns+`, p.total FROM (SELECT a.id, count(*) OVER () AS total`+from+` WHERE `+c.where()+` ORDER BY a.id`+direction(l.Order)+
			` LIMIT `+c.bind(l.PageSize)+` OFFSET `+c.bind(l.Offset())+`) p JOIN alerts a ON a.id = p.id JOIN events e ON e.id = a.event_id
ORDER BY p.id`+direction(l.Order), c.args, &total)
	if err == nil && len(alerts) == 0 && l.Offset() > 0 { // after the last page there is no row with the total
		n, err := first(ctx, tx, scanInt, `SELECT count(*)`+from+` WHERE `+c.where(), c.args[:len(c.args)-2]...)
		return nil, int(n), s.failed("count alerts", err)
	}
	return alerts, total, s.failed("search alerts", err)
}

// tooManyAlerts returns the error for a search of more than searchLimit alerts. As an example
// it names the earliest hour since which there are at most searchLimit.
func (s *Store) tooManyAlerts(ctx context.Context, tx *sql.Tx, q search, count alertCount) error {
	hours, err := hoursOf(ctx, tx, q, count, query.Order{Desc: true})
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
