package catalogue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	reasons "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxCheckDepth bounds how many schemas are checked inside each other.
const maxCheckDepth = 1000

// checker validates one value against a compiled schema. It does what the library's own
// Validate does, for all drafts, with two differences: it stops within a Budget, and at the
// first fault. The library has no limit of any kind, and builds a tree of all faults.
// FuzzChecksAgree holds the two against each other.
//
// A $dynamicRef and a $recursiveRef lead to their initial target: compile refuses schemas
// where that depends on the way by which they are reached.
type checker struct {
	budget *Budget
	path   []step
	quiet  int // above 0: whether there is a fault counts, not which
}

// step is a member's name, or an item's index.
type step struct {
	name   string
	index  int
	isItem bool
}

func toMember(name string) step { return step{name: name} }

func toItem(i int) step { return step{index: i, isItem: true} }

// fault is the reason that a value does not meet a schema.
type fault struct {
	path []string
	kind jsonschema.ErrorKind
}

// someFault is every fault that nobody is shown.
var someFault = new(fault)

// frame is a schema whose check is under way.
type frame struct {
	schema *jsonschema.Schema
	parent *frame
	inner  bool // its value is a part of the parent's value
	depth  int
}

func (c *checker) fault(k jsonschema.ErrorKind) *fault {
	if c.quiet > 0 {
		return someFault
	}
	path := make([]string, len(c.path))
	for i, s := range c.path {
		if path[i] = s.name; s.isItem {
			path[i] = strconv.Itoa(s.index)
		}
	}
	return &fault{path, k}
}

// quietly runs a check of which only the outcome counts.
func (c *checker) quietly(check func() *fault) *fault {
	c.quiet++
	defer func() { c.quiet-- }()
	return check()
}

// ofPart checks a member or an item of the value of a frame.
func (c *checker) ofPart(s *jsonschema.Schema, value any, at step, up *frame) *fault {
	c.path = append(c.path, at)
	_, f := c.check(s, value, &frame{schema: s, parent: up, inner: true, depth: up.depth + 1}, false)
	c.path = c.path[:len(c.path)-1]
	return f
}

// ofSame checks the value of a frame against another schema. What that schema evaluates is
// evaluated for the frame too.
func (c *checker) ofSame(s *jsonschema.Schema, value any, up *frame, left *unevaluated) *fault {
	inner, f := c.check(s, value, &frame{schema: s, parent: up, depth: up.depth + 1}, !left.isEmpty())
	if f == nil {
		c.merge(left, inner)
	}
	return f
}

// check checks a value against a frame's schema. With wanted it returns which parts of the
// value no schema has evaluated.
func (c *checker) check(s *jsonschema.Schema, value any, here *frame, wanted bool) (*unevaluated, *fault) {
	if !c.budget.take(1) {
		return nil, someFault
	}
	left := c.unevaluatedOf(value, s, wanted)
	if s.Bool != nil {
		if *s.Bool {
			return left, nil
		}
		return nil, c.fault(&reasons.FalseSchema{})
	}
	if here.depth > maxCheckDepth {
		c.budget.end("data: the check against the event type's schema goes through more than %d schemas inside each other; simplify the schema.", maxCheckDepth)
		return nil, someFault
	}
	if c.isCycle(here) {
		return nil, c.fault(&reasons.RefCycle{URL: s.Location, KeywordLocation1: s.Location, KeywordLocation2: s.Location})
	}
	if f := c.checkAny(s, value); f != nil {
		return nil, f
	}
	if s.Ref != nil {
		if f := c.ofSame(s.Ref, value, here, left); f != nil || s.DraftVersion < 2019 {
			return left, f
		}
	}
	var f *fault
	switch v := value.(type) {
	case map[string]any:
		f = c.checkObject(s, v, here, left)
	case []any:
		f = c.checkArray(s, v, here, left)
	case string:
		f = c.checkString(s, v)
	case json.Number:
		f = c.checkNumber(s, v)
	}
	if f == nil {
		f = c.checkCombinations(s, value, here, left)
	}
	if f == nil && s.DraftVersion >= 2019 {
		f = c.checkUnevaluated(s, value, here, left)
	}
	return left, f
}

// isCycle reports whether a schema is under way for the same value already.
func (c *checker) isCycle(here *frame) bool {
	n := 0
	defer func() { c.budget.take(n / 8) }()
	for at := here; !at.inner && at.parent != nil; at = at.parent {
		if n++; at.parent.schema == here.schema {
			return true
		}
	}
	return false
}

// checkAny checks the keywords for values of any type.
func (c *checker) checkAny(s *jsonschema.Schema, value any) *fault {
	if s.Types != nil && !s.Types.IsEmpty() {
		name := typeName(value)
		var is jsonschema.Types
		is.Add(name)
		if n, ok := value.(json.Number); ok && *s.Types&is == 0 && c.isInteger(n) {
			is.Add("integer")
		}
		if *s.Types&is == 0 {
			return c.fault(&reasons.Type{Got: name, Want: s.Types.ToStrings()})
		}
	}
	if s.Const != nil && !c.equal(value, *s.Const) {
		return c.fault(&reasons.Const{Got: value, Want: *s.Const})
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum.Values, func(one any) bool { return c.equal(value, one) }) {
		return c.fault(&reasons.Enum{Got: value, Want: s.Enum.Values})
	}
	if s.Format == nil {
		return nil
	}
	if text, ok := value.(string); ok {
		cost := 1 + len(text)/16
		if s.Format.Name == "regex" {
			cost = 1 + 32*len(text) // it compiles the text
		}
		if !c.budget.take(cost) {
			return someFault
		}
	}
	if err := s.Format.Validate(value); err != nil {
		return c.fault(&reasons.Format{Got: value, Want: s.Format.Name, Err: err})
	}
	return nil
}

func typeName(value any) string {
	switch value.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "boolean"
	default:
		return "null"
	}
}

func (c *checker) checkString(s *jsonschema.Schema, text string) *fault {
	if s.MinLength != nil || s.MaxLength != nil {
		c.budget.take(len(text) / 64)
		n := utf8.RuneCountInString(text)
		if s.MinLength != nil && n < *s.MinLength {
			return c.fault(&reasons.MinLength{Got: n, Want: *s.MinLength})
		}
		if s.MaxLength != nil && n > *s.MaxLength {
			return c.fault(&reasons.MaxLength{Got: n, Want: *s.MaxLength})
		}
	}
	if s.Pattern != nil && !c.matches(s.Pattern, text) {
		return c.fault(&reasons.Pattern{Got: short(text), Want: s.Pattern.String()})
	}
	return nil
}

// matches matches a text if the budget has the steps for it.
func (c *checker) matches(re jsonschema.Regexp, text string) bool {
	cost := 1 + len(text)*maxPatterns/16 // of a pattern of unknown size
	if p, ok := re.(pattern); ok {
		cost = p.cost(text)
	}
	return c.budget.take(cost) && re.MatchString(text)
}

func (c *checker) checkNumber(s *jsonschema.Schema, n json.Number) *fault {
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil {
		return nil
	}
	value := c.rat(n)
	switch {
	case s.Minimum != nil && value.Cmp(s.Minimum) < 0:
		return c.fault(&reasons.Minimum{Got: value, Want: s.Minimum})
	case s.Maximum != nil && value.Cmp(s.Maximum) > 0:
		return c.fault(&reasons.Maximum{Got: value, Want: s.Maximum})
	case s.ExclusiveMinimum != nil && value.Cmp(s.ExclusiveMinimum) <= 0:
		return c.fault(&reasons.ExclusiveMinimum{Got: value, Want: s.ExclusiveMinimum})
	case s.ExclusiveMaximum != nil && value.Cmp(s.ExclusiveMaximum) >= 0:
		return c.fault(&reasons.ExclusiveMaximum{Got: value, Want: s.ExclusiveMaximum})
	case s.MultipleOf != nil && !c.isMultiple(n, s):
		return c.fault(&reasons.MultipleOf{Got: value, Want: s.MultipleOf})
	}
	return nil
}

// isMultiple divides, which is slow for numbers of hundreds of digits.
func (c *checker) isMultiple(n json.Number, s *jsonschema.Schema) bool {
	value := c.rat(n)
	size := value.Num().BitLen() + value.Denom().BitLen() + s.MultipleOf.Num().BitLen() + s.MultipleOf.Denom().BitLen()
	return c.budget.take(size/16) && value.Quo(value, s.MultipleOf).IsInt()
}

// reason returns the fault's text, and the path to what is wrong.
func (f *fault) reason(root string) (path, reason string) {
	e := jsonschema.ValidationError{InstanceLocation: f.path, ErrorKind: f.kind}
	return short(strings.Join(append([]string{root}, f.path...), ".")), short(lastLine(e.Error()))
}
