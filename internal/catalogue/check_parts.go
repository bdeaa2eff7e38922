package catalogue

import (
	"github.com/santhosh-tekuri/jsonschema/v6"
	reasons "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

func (c *checker) checkObject(s *jsonschema.Schema, members map[string]any, here *frame, left *unevaluated) *fault {
	if s.MinProperties != nil && len(members) < *s.MinProperties {
		return c.fault(&reasons.MinProperties{Got: len(members), Want: *s.MinProperties})
	}
	if s.MaxProperties != nil && len(members) > *s.MaxProperties {
		return c.fault(&reasons.MaxProperties{Got: len(members), Want: *s.MaxProperties})
	}
	if missing := c.missing(members, s.Required); missing != nil {
		return c.fault(&reasons.Required{Missing: missing})
	}
	for name, needs := range s.Dependencies {
		if f := c.checkDependency(name, needs, members, here, left); f != nil {
			return f
		}
	}
	if f := c.checkMembers(s, members, here, left); f != nil {
		return f
	}
	if s.PropertyNames != nil {
		for name := range members {
			if _, f := c.check(s.PropertyNames, name, &frame{schema: s.PropertyNames, parent: here, inner: true, depth: here.depth + 1}, false); f != nil {
				return f
			}
		}
	}
	for name, schema := range s.DependentSchemas {
		if f := c.checkDependency(name, schema, members, here, left); f != nil {
			return f
		}
	}
	for name, names := range s.DependentRequired {
		if _, has := members[name]; !has {
			continue
		}
		if missing := c.missing(members, names); missing != nil {
			return c.fault(&reasons.DependentRequired{Prop: name, Missing: missing})
		}
	}
	return nil
}

// checkDependency checks what an object needs if it has a member: other members or a schema.
func (c *checker) checkDependency(name string, needs any, members map[string]any, here *frame, left *unevaluated) *fault {
	if _, has := members[name]; !has {
		c.budget.take(1)
		return nil
	}
	switch needs := needs.(type) {
	case []string:
		if missing := c.missing(members, needs); missing != nil {
			return c.fault(&reasons.Dependency{Prop: name, Missing: missing})
		}
	case *jsonschema.Schema:
		return c.ofSame(needs, members, here, left)
	}
	return nil
}

func (c *checker) missing(members map[string]any, names []string) (missing []string) {
	c.budget.take(len(names) / 4)
	for _, name := range names {
		if _, has := members[name]; !has {
			missing = append(missing, name)
		}
	}
	return missing
}

func (c *checker) checkMembers(s *jsonschema.Schema, members map[string]any, here *frame, left *unevaluated) *fault {
	if len(s.Properties) == 0 && len(s.PatternProperties) == 0 && s.AdditionalProperties == nil {
		return nil
	}
	var unwanted []string
	for name, value := range members {
		if !c.budget.take(1) {
			return someFault
		}
		known := false
		if schema, ok := s.Properties[name]; ok {
			known = true
			if f := c.ofPart(schema, value, toMember(name), here); f != nil {
				return f
			}
		}
		for re, schema := range s.PatternProperties {
			if !c.matches(re, name) {
				continue
			}
			known = true
			if f := c.ofPart(schema, value, toMember(name), here); f != nil {
				return f
			}
		}
		if !known {
			switch additional := s.AdditionalProperties.(type) {
			case bool:
				if known = true; !additional {
					unwanted = append(unwanted, name)
				}
			case *jsonschema.Schema:
				known = true
				if f := c.ofPart(additional, value, toMember(name), here); f != nil {
					return f
				}
			}
		}
		if known {
			left.dropMember(name)
		}
	}
	if unwanted != nil {
		return c.fault(&reasons.AdditionalProperties{Properties: unwanted})
	}
	return nil
}

func (c *checker) checkArray(s *jsonschema.Schema, items []any, here *frame, left *unevaluated) *fault {
	if s.MinItems != nil && len(items) < *s.MinItems {
		return c.fault(&reasons.MinItems{Got: len(items), Want: *s.MinItems})
	}
	if s.MaxItems != nil && len(items) > *s.MaxItems {
		return c.fault(&reasons.MaxItems{Got: len(items), Want: *s.MaxItems})
	}
	if s.UniqueItems && len(items) > 1 {
		if first, second, found := c.duplicates(items); found {
			return c.fault(&reasons.UniqueItems{Duplicates: [2]int{first, second}})
		}
	}
	if f := c.checkItems(s, items, here); f != nil {
		return f
	}
	if s.Contains != nil {
		return c.checkContains(s, items, here, left)
	}
	return nil
}

// checkItems checks the items by their places.
func (c *checker) checkItems(s *jsonschema.Schema, items []any, here *frame) *fault {
	first, rest := s.PrefixItems, s.Items2020
	if s.DraftVersion < 2020 {
		switch all := s.Items.(type) {
		case *jsonschema.Schema:
			first, rest = nil, all
		case []*jsonschema.Schema:
			first = all
		}
		placed := len(items) // that items has a schema for
		if rest == nil {
			placed = min(len(first), len(items))
		}
		switch additional := s.AdditionalItems.(type) {
		case bool:
			if !additional && placed < len(items) {
				if f := c.checkPlaces(first, nil, items, here); f != nil {
					return f
				}
				return c.fault(&reasons.AdditionalItems{Count: len(items) - placed})
			}
		case *jsonschema.Schema:
			if rest == nil {
				rest = additional
			}
		}
	}
	return c.checkPlaces(first, rest, items, here)
}

// checkPlaces checks items against the schemas of the first places and of the rest.
func (c *checker) checkPlaces(first []*jsonschema.Schema, rest *jsonschema.Schema, items []any, here *frame) *fault {
	for i, item := range items {
		schema := rest
		if i < len(first) {
			schema = first[i]
		}
		if schema == nil {
			return nil
		}
		if f := c.ofPart(schema, item, toItem(i), here); f != nil {
			return f
		}
	}
	return nil
}

func (c *checker) checkContains(s *jsonschema.Schema, items []any, here *frame, left *unevaluated) *fault {
	var (
		matched []int
		first   *fault // of an item that does not match
	)
	for i, item := range items {
		check := func() *fault { return c.ofPart(s.Contains, item, toItem(i), here) }
		f := (*fault)(nil)
		if first == nil {
			f = check()
			first = f
		} else {
			f = c.quietly(check)
		}
		if c.budget.err != nil {
			return someFault
		}
		if f == nil {
			matched = append(matched, i)
			if s.DraftVersion >= 2020 {
				left.dropItem(i)
			}
		}
	}
	var few jsonschema.ErrorKind = &reasons.Contains{}
	want := 1
	if s.MinContains != nil {
		want, few = *s.MinContains, &reasons.MinContains{Got: matched, Want: *s.MinContains}
	}
	if len(matched) < want {
		if first != nil {
			return first
		}
		return c.fault(few)
	}
	if s.MaxContains != nil && len(matched) > *s.MaxContains {
		return c.fault(&reasons.MaxContains{Got: matched[:min(len(matched), 100)], Want: *s.MaxContains})
	}
	return nil
}
