package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald/internal/query"
)

// conditions collects the conditions of a WHERE clause and the values of their numbered
// placeholders.
type conditions struct {
	columns map[string]string // the columns of the fields that a query may name
	parts   []string
	args    []any
	used    []string // the columns that a query has named
}

// bind adds a value and returns its placeholder.
func (c *conditions) bind(value any) string {
	switch v := value.(type) {
	case uuid.UUID:
		value = v[:]
	case time.Time:
		value = micros(v)
	}
	c.args = append(c.args, value)
	return "$" + strconv.Itoa(len(c.args))
}

// add adds a condition. Each %s in it is replaced by the placeholder of the next value.
func (c *conditions) add(format string, values ...any) {
	placeholders := make([]any, len(values))
	for i, v := range values {
		placeholders[i] = c.bind(v)
	}
	c.parts = append(c.parts, fmt.Sprintf(format, placeholders...))
}

// list returns the parts as a list of values.
func (c *conditions) list() string { return strings.Join(c.parts, ", ") }

// where returns the conditions as a WHERE clause's text.
func (c *conditions) where() string { return strings.Join(c.parts, " AND ") }

// uses reports whether a query has named a column of the table alias.
func (c *conditions) uses(alias string) bool {
	return slices.ContainsFunc(c.used, func(column string) bool { return strings.HasPrefix(column, alias+".") })
}

// addQuery adds the condition of a query. nil adds none.
func (c *conditions) addQuery(n query.Node) {
	if n != nil {
		c.parts = append(c.parts, c.node(n))
	}
}

func (c *conditions) node(n query.Node) string {
	switch n := n.(type) {
	case query.And:
		return "(" + c.node(n.Left) + " AND " + c.node(n.Right) + ")"
	case query.Or:
		return "(" + c.node(n.Left) + " OR " + c.node(n.Right) + ")"
	case query.Clause:
		return c.clause(n)
	default:
		panic(fmt.Sprintf("store: unknown query node %T", n))
	}
}

func (c *conditions) clause(n query.Clause) string {
	column := c.columns[n.Field.Name]
	c.used = append(c.used, column)
	if at, ok := n.Value.(time.Time); ok {
		return c.instant(column, n.Op, at)
	}
	switch n.Op {
	case query.Contains:
		// The databases have different functions for "contains". replace works
		// in both.
		return fmt.Sprintf("replace(%s, %s, '') <> %[1]s", column, c.bind(n.Value))
	case query.NotEqual:
		return fmt.Sprintf("%s <> %s", column, c.bind(n.Value))
	default:
		return fmt.Sprintf("%s = %s", column, c.bind(n.Value))
	}
}

// instant returns the condition on when an alert was raised. The id holds that time, so the
// condition compares ids: an instant is the range of ids of one microsecond.
func (c *conditions) instant(column string, op query.Op, at time.Time) string {
	instant := instantOf(at)
	from, to := instant.from, instant.to
	switch op {
	case query.Less:
		return fmt.Sprintf("%s < %s", column, c.bind(from))
	case query.GreaterOrEqual:
		return fmt.Sprintf("%s >= %s", column, c.bind(from))
	case query.LessOrEqual:
		return fmt.Sprintf("%s < %s", column, c.bind(to))
	case query.Greater:
		return fmt.Sprintf("%s >= %s", column, c.bind(to))
	case query.NotEqual:
		return fmt.Sprintf("(%[1]s < %[2]s OR %[1]s >= %[3]s)", column, c.bind(from), c.bind(to))
	default:
		return fmt.Sprintf("(%[1]s >= %[2]s AND %[1]s < %[3]s)", column, c.bind(from), c.bind(to))
	}
}

// orderBy returns the text after ORDER BY. Rows with equal values are ordered by id.
func (c *conditions) orderBy(o query.Order) string {
	direction := ""
	if o.Desc {
		direction = " DESC"
	}
	text := c.columns[o.Field.Name] + direction
	if id := c.columns["id"]; c.columns[o.Field.Name] != id {
		text += ", " + id + direction
	}
	return text
}
