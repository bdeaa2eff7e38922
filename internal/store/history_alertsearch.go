package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// searchLimit is how many alerts of a range a list may search one by one. A list over more is
// refused, or returned in parts. So the result does not depend on the machine's speed, as it
// would with a deadline alone. Both databases search this many in well under 100 ms
// (docs/performance.md).
const searchLimit = 40_000

// setLimit is searchLimit for the alerts of sets that the index has: they are scattered over the
// table, so that each takes longer.
const setLimit = 10_000

// maxSets is how many sets a search may unite: each is looked for in every segment.
const maxSets = 8

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
	// rest has conditions that must all hold. Neither an id nor a tally answers them.
	rest []query.Node
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
		case n.Field.Name == "clientId": // whose alerts are searched anyway
			if id != s.client {
				s.before(uuid.Nil)
			}
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
	if !slices.Contains(s.rest, n) {
		s.rest = append(s.rest, n)
	}
}

// setOf returns the set of alerts that a clause describes, if the index has it.
func (s *search) setOf(n query.Node) (set alertSet, found bool) {
	c, ok := n.(query.Clause)
	if !ok || c.Op != query.Equal {
		return alertSet{}, false
	}
	set.client = s.client
	switch c.Field.Name {
	case "companyId":
		set.company, found = c.Value.(uuid.UUID)
		found = found && set.company != uuid.Nil
	case "ruleType":
		set.kind, found = c.Value.(string)
	}
	return set, found
}

// exactSet returns the set whose alerts are exactly those of the search, if the index has it.
func (s *search) exactSet() (alertSet, bool) {
	all := alertSet{client: s.client}
	for _, n := range s.rest {
		set, found := s.setOf(n)
		switch {
		case found && set.kind == "" && all.company == uuid.Nil:
			all.company = set.company
		case found && set.kind != "" && all.kind == "":
			all.kind = set.kind
		default:
			return alertSet{}, false
		}
	}
	return all, s.rule == uuid.Nil && len(s.rest) > 0
}

// unions returns unions of sets of the index. Every alert that meets the condition is in each of them.
func (s *search) unions(n query.Node) [][]alertSet {
	switch n := n.(type) {
	case query.And:
		return slices.Concat(s.unions(n.Left), s.unions(n.Right))
	case query.Or:
		left, right := s.unions(n.Left), s.unions(n.Right)
		if len(left) == 0 || len(right) == 0 || len(left[0])+len(right[0]) > maxSets {
			return nil
		}
		return [][]alertSet{slices.Concat(left[0], right[0])}
	}
	if set, found := s.setOf(n); found {
		return [][]alertSet{{set}}
	}
	return nil
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
// would have to be searched one by one, the error is CodeInvalid and says how to narrow the query.
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
	return s.snapshot(ctx, s.lists, fn)
}

func (s *Store) snapshot(ctx context.Context, pool *sql.DB, fn func(*sql.Tx) error) error {
	o := sql.TxOptions{ReadOnly: true} // a transaction of SQLite is a snapshot
	if s.dialect.shared {
		o.Isolation = sql.LevelRepeatableRead
	}
	tx, err := pool.BeginTx(ctx, &o)
	if err != nil {
		return withContextError(ctx, err)
	}
	defer tx.Rollback() //nolint:errcheck // what was read is read
	return fn(tx)
}

func (s *Store) alertsIn(ctx context.Context, tx *sql.Tx, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	keptFrom, err := first(ctx, tx, scanID, `SELECT kept_from FROM history`)
	if err != nil {
		return nil, 0, s.failed("read how far history reaches", err)
	}
	q := search{client: client, rule: rule, span: span{keptFrom, lastID}}
	q.addQuery(l.Where)
	if company != uuid.Nil {
		q.addQuery(query.Clause{Field: query.Field{Name: "companyId", Kind: query.UUID}, Op: query.Equal, Value: company})
	}
	count, err := countAlerts(ctx, tx, q)
	if err != nil {
		return nil, 0, s.failed("count alerts", err)
	}
	if len(q.rest) == 0 {
		return s.pageByTallies(ctx, tx, q, l, count)
	}
	if set, exact := q.exactSet(); exact {
		if alerts, total, found, err := s.pageBySet(ctx, tx, q, set, l); found || err != nil {
			return alerts, total, s.failed("list alerts by their index", err)
		}
	} else if ids, found, err := s.candidates(ctx, tx, q, count.total); found || err != nil {
		if err != nil {
			return nil, 0, s.failed("search the index of alerts", err)
		}
		return s.pageBySearch(ctx, tx, q, ids, l)
	}
	if count.total > s.searchLimit {
		return nil, 0, s.tooManyAlerts(ctx, tx, q, count)
	}
	return s.pageBySearch(ctx, tx, q, nil, l)
}

// pageBySet returns a page of a set that the index has. It reports false when too many alerts are open.
func (s *Store) pageBySet(ctx context.Context, tx *sql.Tx, q search, set alertSet, l query.List) (alerts []herald.Alert, total int, found bool, err error) {
	k, err := findIndexed(ctx, tx, set, q.span)
	if err != nil {
		return nil, 0, false, err
	}
	if found, err = s.addOpen(ctx, tx, k); !found || err != nil {
		return nil, 0, false, err
	}
	ids, err := k.pick(ctx, tx, l.Order.Desc, l.Offset(), l.PageSize)
	if err == nil {
		alerts, err = s.alertsOf(ctx, tx, ids, l.Order)
	}
	return alerts, k.total(), true, err
}

// candidates returns the ids of at most setLimit alerts that the index has, among which are all that
// match. It reports false when there is no union of sets with so few, or with fewer than inRange,
// the alerts in the range of the search.
func (s *Store) candidates(ctx context.Context, tx *sql.Tx, q search, inRange int) (ids []uuid.UUID, found bool, err error) {
	for _, n := range q.rest {
		for _, union := range q.unions(n) {
			some, ok, err := s.idsOfUnion(ctx, tx, q, union, min(s.setLimit, inRange))
			if err != nil {
				return nil, false, err
			}
			if ok && (!found || len(some) < len(ids)) {
				ids, found = some, true
			}
		}
	}
	return ids, found, nil
}

// idsOfUnion returns the ids of the alerts in a union of sets. It reports false when they are limit or more.
func (s *Store) idsOfUnion(ctx context.Context, tx *sql.Tx, q search, union []alertSet, limit int) (all []uuid.UUID, ok bool, err error) {
	all = []uuid.UUID{} // nil would mean every alert
	for _, set := range union {
		k, err := findIndexed(ctx, tx, set, q.span)
		if err != nil {
			return nil, false, err
		}
		if k.total() >= limit {
			return nil, false, nil
		}
		if ok, err = s.addOpen(ctx, tx, k); !ok || err != nil || k.total() >= limit {
			return nil, false, err
		}
		ids, err := k.pick(ctx, tx, false, 0, limit)
		if err != nil {
			return nil, false, err
		}
		all = append(all, ids...)
	}
	slices.SortFunc(all, compareIDs)
	all = slices.Compact(all)
	return all, len(all) < limit, nil
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
	ids, err := list(ctx, tx, scanID, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id`+direction(l.Order)+
		` LIMIT `+c.bind(l.PageSize)+` OFFSET `+c.bind(skip), c.args...)
	if err != nil {
		return nil, 0, s.failed("find a page of alerts", err)
	}
	alerts, err := s.alertsOf(ctx, tx, ids, l.Order)
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

// pageBySearch returns a page of a search that reads every alert of its span, or only those among
// that are not nil.
func (s *Store) pageBySearch(ctx context.Context, tx *sql.Tx, q search, among []uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	c := q.conditions()
	c.add("a.id >= %s", q.from)
	c.add("a.id < %s", q.to)
	for _, n := range q.rest {
		c.addQuery(n)
	}
	from := ` FROM alerts a`
	if among != nil {
		from = ` FROM ` + s.alertsAmong(among)(c)
	}
	if c.uses("e") {
		from += ` JOIN events e ON e.id = a.event_id`
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
	since, n := q.to, count.tail+count.open
	for _, h := range hours {
		if n += h.n; n > s.searchLimit {
			break
		}
		since = herald.FirstIDAt(h.at)
	}
	example := ""
	if since != q.to {
		example = ", for example raisedOnUtc>=" + herald.TimeOf(since).Format(time.RFC3339)
	} else { // the last hour alone has too many
		c := q.conditions()
		c.add("a.id < %s", q.to)
		last, err := first(ctx, tx, scanID, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id DESC LIMIT 1 OFFSET `+c.bind(s.searchLimit), c.args...)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return s.failed("find when alerts were raised", err)
		}
		example = ", for example raisedOnUtc>" + herald.TimeOf(last).Format(time.RFC3339Nano)
	}
	return herald.Invalid("query", "This query would search %d alerts one by one, and a list searches at most %d. Narrow it: add when they were raised%s, "+
		"of which company they are (companyId), or by which rule (ruleId).", count.total, s.searchLimit, example)
}
