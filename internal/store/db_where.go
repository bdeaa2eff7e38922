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

// conditions gathers what a list is narrowed by, with the values that the
// numbered placeholders stand for.
type conditions struct {
	columns map[string]string // of the fields that a query may name
	parts   []string
	args    []any
	used    []string // columns that a query has named
}

// place adds a value and returns its placeholder.
func (c *conditions) place(value any) string {
	switch v := value.(type) {
	case uuid.UUID:
		value = v[:]
	case time.Time:
		value = micros(v)
	}
	c.args = append(c.args, value)
	return "$" + strconv.Itoa(len(c.args))
}

// add adds a condition; each %s in it stands for the next value.
func (c *conditions) add(format string, values ...any) {
	places := make([]any, len(values))
	for i, v := range values {
		places[i] = c.place(v)
	}
	c.parts = append(c.parts, fmt.Sprintf(format, places...))
}

// where returns the conditions as a WHERE clause's text.
func (c *conditions) where() string { return strings.Join(c.parts, " AND ") }

// uses reports whether a query has named a column of the table alias.
func (c *conditions) uses(alias string) bool {
	return slices.ContainsFunc(c.used, func(column string) bool { return strings.HasPrefix(column, alias+".") })
}

// narrow adds what a query asks for; nil asks for nothing.
func (c *conditions) narrow(n query.Node) {
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
		panic(fmt.Sprintf("store: a query's node of type %T", n))
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
		// Both databases have their own word for "contains"; they share this.
		return fmt.Sprintf("replace(%s, %s, '') <> %[1]s", column, c.place(n.Value))
	case query.NotEqual:
		return fmt.Sprintf("%s <> %s", column, c.place(n.Value))
	default:
		return fmt.Sprintf("%s = %s", column, c.place(n.Value))
	}
}

// instant compares when something was raised, which its id says: the instant
// is the range of ids from its first to the one before the next microsecond's.
func (c *conditions) instant(column string, op query.Op, at time.Time) string {
	instant := instantOf(at)
	from, to := instant.from, instant.to
	switch op {
	case query.Less:
		return fmt.Sprintf("%s < %s", column, c.place(from))
	case query.GreaterOrEqual:
		return fmt.Sprintf("%s >= %s", column, c.place(from))
	case query.LessOrEqual:
		return fmt.Sprintf("%s < %s", column, c.place(to))
	case query.Greater:
		return fmt.Sprintf("%s >= %s", column, c.place(to))
	case query.NotEqual:
		return fmt.Sprintf("(%[1]s < %[2]s OR %[1]s >= %[3]s)", column, c.place(from), c.place(to))
	default:
		return fmt.Sprintf("(%[1]s >= %[2]s AND %[1]s < %[3]s)", column, c.place(from), c.place(to))
	}
}

// orderBy returns an order's ORDER BY text; what is equal goes by id.
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
