package query

import "strings"

// Field is a stored field of a resource. The store maps Name to a column.
type Field struct {
	Name string // such as "notifiers.webhook"
	Kind Kind
}

// Member is a member of a resource that a query or orderBy can name.
type Member struct {
	// Path is the member's name in the resource's JSON, with dots. It matches in any
	// case.
	Path string
	// Field is the member's field. Two members can have the same field.
	Field Field
	// OrderBy is the field to sort by when orderBy names the member. It is the zero
	// Field when orderBy does not accept the member.
	OrderBy Field
}

// Order is the order of a list. Rows with equal Field values are sorted by id, so that
// pages do not overlap.
type Order struct {
	Field Field
	Desc  bool
}

// Schema describes a resource that can be listed.
type Schema struct {
	// Type names the resource in "Could not resolve property … on …".
	Type    string
	Members []Member
	// Default is the order of a list without orderBy.
	Default Order
	// Undefined is a path that orderBy takes although the resource has no such member. All are
	// equal in it, so the list has its Default order, upwards and downwards. Empty: none.
	Undefined string
}

// Rules returns the schema of a rule (spec sections 4.3 item 8 and 5.1). A client has few
// rules, so the store can sort them by any member. The default is the order of creation,
// which is the order of ids.
func Rules() Schema {
	id := Field{"id", UUID}
	return Schema{
		Type: "Rule",
		Members: []Member{
			sortable(id),
			sortable(Field{"type", String}),
			sortable(Field{"companyId", UUID}),
			sortable(Field{"notifiers.webhook", String}),
		},
		Default: Order{Field: id},
		// The example of orderBy in the vendor's OpenAPI is -modifiedDate, which no rule has
		// (spec section 4.4).
		Undefined: "modifiedDate",
	}
}

// Alerts returns the schema of an alert (spec sections 4.3 item 8 and 7.1). Only the order
// of ids has an index. An id contains the time when the alert was raised, so that is the
// order of raisedOnUtc too. The default is newest first.
func Alerts() Schema {
	id := Field{"id", UUID}
	return Schema{
		Type: "Alert",
		Members: []Member{
			sortable(id),
			{Path: "alertId", Field: id, OrderBy: id},
			unsortable(Field{"companyId", UUID}),
			unsortable(Field{"clientId", UUID}),
			unsortable(Field{"ruleId", UUID}),
			unsortable(Field{"ruleType", String}),
			unsortable(Field{"dataConnectionId", UUID}),
			unsortable(Field{"message", String}),
			{Path: "raisedOnUtc", Field: Field{"raisedOnUtc", Time}, OrderBy: id},
		},
		Default: Order{Field: id, Desc: true},
	}
}

func sortable(f Field) Member   { return Member{Path: f.Name, Field: f, OrderBy: f} }
func unsortable(f Field) Member { return Member{Path: f.Name, Field: f} }

// member finds a member by its path.
func (s Schema) member(path string) (Member, bool) {
	for _, m := range s.Members {
		if strings.EqualFold(m.Path, path) {
			return m, true
		}
	}
	return Member{}, false
}

// paths lists the members that a query can name, for people.
func (s Schema) paths() string {
	var paths []string
	for _, m := range s.Members {
		paths = append(paths, m.Path)
	}
	return strings.Join(paths, ", ")
}

// sortablePaths lists the members that orderBy accepts, for people.
func (s Schema) sortablePaths() string {
	var paths []string
	for _, m := range s.Members {
		if m.OrderBy != (Field{}) {
			paths = append(paths, m.Path)
		}
	}
	return strings.Join(paths, ", ")
}
