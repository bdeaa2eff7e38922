// Package query turns the list parameters of the Codat surface into values:
// page and pageSize, the query language, orderBy, and the links of the answer
// (spec sections 4.1 to 4.4). It is pure: text and url.Values in, trees and
// lists out.
//
// The language is that of spec section 4.3. "&&" binds tighter than "||", braces
// group, blanks between words do not count:
//
//	expression  := conjunction { "||" conjunction }
//	conjunction := clause { "&&" clause }
//	clause      := "{" expression "}" | path operator value
//	path        := name { "." name }
//	operator    := "=" | "!=" | "~" | ">" | "<" | ">=" | "<="
//
// A value is not quoted. It runs to the next operator, brace or end; blanks
// inside it count, those around it do not. A single "&", "|" or "!" is part of
// it, and so are parentheses, but no character that is an operator by itself.
//
// Which members a resource has stands in Rules and Alerts. Making SQL of a tree,
// and what equal and contains mean for text, is the work of internal/store;
// answering an error, of internal/api/codat.
package query

import "fmt"

// Op is a comparison, spelled as in the language.
type Op string

// The comparisons. Every kind takes Equal and NotEqual; Contains is for String,
// the other four for Time.
const (
	Equal          Op = "="
	NotEqual       Op = "!="
	Contains       Op = "~"
	Greater        Op = ">"
	Less           Op = "<"
	GreaterOrEqual Op = ">="
	LessOrEqual    Op = "<="
)

// Node is a query's tree: an And, an Or or a Clause. Its String is a query that
// parses to an equal tree.
type Node interface {
	fmt.Stringer
	node()
}

// And holds where both sides hold.
type And struct{ Left, Right Node }

// Or holds where one side holds, or both.
type Or struct{ Left, Right Node }

// Clause compares a field with a value.
type Clause struct {
	Field Field
	Op    Op
	// Value is a string, a uuid.UUID or a time.Time in UTC, as Field.Kind
	// says. A string is not empty, is valid UTF-8 and has no NUL.
	Value any
}

func (And) node()    {}
func (Or) node()     {}
func (Clause) node() {}

// String returns the query of the tree. Chains lean to the left, so a chain on
// the right was grouped by hand and keeps its braces.
func (n And) String() string {
	left, right := n.Left.String(), n.Right.String()
	if _, or := n.Left.(Or); or {
		left = "{" + left + "}"
	}
	if _, clause := n.Right.(Clause); !clause {
		right = "{" + right + "}"
	}
	return left + " && " + right
}

// String returns the query of the tree.
func (n Or) String() string {
	right := n.Right.String()
	if _, or := n.Right.(Or); or {
		right = "{" + right + "}"
	}
	return n.Left.String() + " || " + right
}

// String returns the query of the clause.
func (n Clause) String() string {
	return n.Field.Name + " " + string(n.Op) + " " + format(n.Value)
}
