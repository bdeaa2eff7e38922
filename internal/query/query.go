// Package query parses the list parameters of the Codat surface: page and pageSize, the
// query language and orderBy. It also makes the links of the answer (spec sections 4.1 to
// 4.4). It is pure: text and url.Values in, trees and lists out.
//
// The language is that of spec section 4.3. "&&" binds tighter than "||", braces
// group, and blanks between tokens do not count:
//
//	expression  := conjunction { "||" conjunction }
//	conjunction := clause { "&&" clause }
//	clause      := "{" expression "}" | path operator value
//	path        := name { "." name }
//	operator    := "=" | "!=" | "~" | ">" | "<" | ">=" | "<="
//
// A value is not quoted. It ends at the next operator or brace, or at the end of the text.
// Blanks inside it count; blanks around it do not. It may contain a single "&", "|" or "!",
// and parentheses, but no character that is an operator by itself.
//
// Rules and Alerts define the members of the resources. internal/store makes SQL of a tree
// and defines what equal and contains mean for text. internal/api/codat answers errors.
package query

import "fmt"

// Op is a comparison, spelled as in the language.
type Op string

// The comparisons. Every kind has Equal and NotEqual; String also has Contains, and
// Time also has the other four.
const (
	Equal          Op = "="
	NotEqual       Op = "!="
	Contains       Op = "~"
	Greater        Op = ">"
	Less           Op = "<"
	GreaterOrEqual Op = ">="
	LessOrEqual    Op = "<="
)

// Node is a query's tree: an And, an Or or a Clause. Its String parses to an equal tree.
type Node interface {
	fmt.Stringer
	node()
}

// And is true where both sides are true.
type And struct{ Left, Right Node }

// Or is true where at least one side is true.
type Or struct{ Left, Right Node }

// Clause compares a field with a value.
type Clause struct {
	Field Field
	Op    Op
	// Value is a string, a uuid.UUID or a time.Time in UTC, according to Field.Kind.
	// A string is not empty, is valid UTF-8 and has no NUL.
	Value any
}

func (And) node()    {}
func (Or) node()     {}
func (Clause) node() {}

// String returns the query of the tree. The parser makes chains left-associative, so a
// chain on the right side had braces and gets them back.
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
