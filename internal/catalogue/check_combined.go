package catalogue

import (
	"github.com/santhosh-tekuri/jsonschema/v6"
	reasons "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// checkCombinations checks the keywords that apply other schemas to the same value.
func (c *checker) checkCombinations(s *jsonschema.Schema, value any, here *frame, left *unevaluated) *fault {
	if s.DraftVersion >= 2019 {
		if s.RecursiveRef != nil {
			if f := c.ofSame(s.RecursiveRef, value, here, left); f != nil {
				return f
			}
		}
		if s.DynamicRef != nil {
			if f := c.ofSame(s.DynamicRef.Ref, value, here, left); f != nil {
				return f
			}
		}
	}
	if s.Not != nil && c.quietly(func() *fault { return c.ofSame(s.Not, value, here, left) }) == nil {
		return c.fault(&reasons.Not{})
	}
	for _, schema := range s.AllOf {
		if f := c.ofSame(schema, value, here, left); f != nil {
			return f
		}
	}
	if len(s.AnyOf) > 0 {
		if f := c.checkAnyOf(s, value, here, left); f != nil {
			return f
		}
	}
	if len(s.OneOf) > 0 {
		if f := c.checkOneOf(s, value, here, left); f != nil {
			return f
		}
	}
	if s.If == nil {
		return nil
	}
	next := s.Else
	if c.quietly(func() *fault { return c.ofSame(s.If, value, here, left) }) == nil {
		next = s.Then
	}
	if next == nil {
		return nil
	}
	return c.ofSame(next, value, here, left)
}

func (c *checker) checkAnyOf(s *jsonschema.Schema, value any, here *frame, left *unevaluated) *fault {
	var first *fault
	matched := false
	for _, schema := range s.AnyOf {
		check := func() *fault { return c.ofSame(schema, value, here, left) }
		f := (*fault)(nil)
		if first == nil && !matched {
			f = check()
			first = f
		} else {
			f = c.quietly(check)
		}
		if f != nil {
			continue
		}
		if matched = true; left.isEmpty() { // else the others say what is evaluated
			break
		}
	}
	if matched {
		return nil
	}
	return first
}

func (c *checker) checkOneOf(s *jsonschema.Schema, value any, here *frame, left *unevaluated) *fault {
	var first *fault
	matched := -1
	for i, schema := range s.OneOf {
		check := func() *fault { return c.ofSame(schema, value, here, left) }
		f := (*fault)(nil)
		if first == nil && matched < 0 {
			f = check()
			first = f
		} else {
			f = c.quietly(check)
		}
		switch {
		case f != nil:
		case matched >= 0:
			return c.fault(&reasons.OneOf{Subschemas: []int{matched, i}})
		default:
			matched = i
		}
	}
	if matched >= 0 {
		return nil
	}
	return first
}
