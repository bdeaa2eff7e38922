package catalogue

import "slices"

// Member describes a member of the data of a built-in type.
type Member struct {
	Name string
	// Kind is what the value must be, in words.
	Kind string
	// Values are the only ones that are accepted; nil: any of the kind.
	Values   []string
	Optional bool
}

var kindNames = map[kind]string{text: "text", number: "number", textOrNull: "text or null", numberOrNull: "number or null"}

// Members describes the data of a built-in type. It is nil for an operator's own
// type, which has a JSON Schema instead.
func (t *Type) Members() []Member {
	var members []Member
	for _, f := range t.fields {
		members = append(members, Member{Name: f.name, Kind: kindNames[f.kind], Values: slices.Clone(f.values), Optional: f.optional})
	}
	return members
}
