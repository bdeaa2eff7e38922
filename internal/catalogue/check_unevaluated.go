package catalogue

import "github.com/santhosh-tekuri/jsonschema/v6"

// unevaluated are the members or the items of a value that no schema has evaluated yet. nil
// means none, or that nobody asks.
type unevaluated struct {
	members map[string]struct{}
	items   map[int]struct{}
}

func (u *unevaluated) isEmpty() bool { return u == nil || len(u.members) == 0 && len(u.items) == 0 }

func (u *unevaluated) dropMember(name string) {
	if u != nil {
		delete(u.members, name)
	}
}

func (u *unevaluated) dropItem(i int) {
	if u != nil {
		delete(u.items, i)
	}
}

// unevaluatedOf returns what of a value a schema's own keywords may leave unevaluated, if the
// schema asks or wanted is set.
func (c *checker) unevaluatedOf(value any, s *jsonschema.Schema, wanted bool) *unevaluated {
	switch v := value.(type) {
	case map[string]any:
		if s.AdditionalProperties != nil || !wanted && s.UnevaluatedProperties == nil {
			return nil
		}
		c.budget.take(len(v))
		u := &unevaluated{members: make(map[string]struct{}, len(v))}
		for name := range v {
			u.members[name] = struct{}{}
		}
		return u
	case []any:
		from, all := len(s.PrefixItems), s.Items2020 != nil
		if s.DraftVersion < 2020 {
			_, all = s.Items.(*jsonschema.Schema)
			all = all || s.AdditionalItems != nil
			placed, _ := s.Items.([]*jsonschema.Schema)
			from = len(placed)
		}
		if all || from >= len(v) || !wanted && s.UnevaluatedItems == nil {
			return nil
		}
		c.budget.take(len(v) - from)
		u := &unevaluated{items: make(map[int]struct{}, len(v)-from)}
		for i := from; i < len(v); i++ {
			u.items[i] = struct{}{}
		}
		return u
	}
	return nil
}

// merge leaves what both leave.
func (c *checker) merge(left, other *unevaluated) {
	if left.isEmpty() {
		return
	}
	c.budget.take(len(left.members) + len(left.items))
	for name := range left.members {
		if other == nil {
			delete(left.members, name)
		} else if _, still := other.members[name]; !still {
			delete(left.members, name)
		}
	}
	for i := range left.items {
		if other == nil {
			delete(left.items, i)
		} else if _, still := other.items[i]; !still {
			delete(left.items, i)
		}
	}
}

// checkUnevaluated checks what is left, after which nothing is.
func (c *checker) checkUnevaluated(s *jsonschema.Schema, value any, here *frame, left *unevaluated) *fault {
	if left == nil {
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		if s.UnevaluatedProperties == nil {
			return nil
		}
		for name := range left.members {
			if f := c.ofPart(s.UnevaluatedProperties, v[name], toMember(name), here); f != nil {
				return f
			}
		}
		left.members = nil
	case []any:
		if s.UnevaluatedItems == nil {
			return nil
		}
		for i := range left.items {
			if f := c.ofPart(s.UnevaluatedItems, v[i], toItem(i), here); f != nil {
				return f
			}
		}
		left.items = nil
	}
	return nil
}
