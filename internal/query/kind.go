package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Kind is the kind of a field's values.
type Kind int

// The kinds.
const (
	String Kind = iota // a string
	UUID               // a uuid.UUID
	Time               // a time.Time, an instant
)

// ops returns the comparisons that values of the kind take (the table of spec
// section 4.3; nothing that can be queried is a number).
func (k Kind) ops() []Op {
	switch k {
	case String:
		return []Op{Equal, NotEqual, Contains}
	case Time:
		return []Op{Equal, NotEqual, Greater, Less, GreaterOrEqual, LessOrEqual}
	default:
		return []Op{Equal, NotEqual}
	}
}

// want says what a value of the kind has to look like.
func (k Kind) want() string {
	switch k {
	case UUID:
		return "a UUID, in hexadecimal digits and hyphens"
	case Time:
		return "a date or time such as 2023-05-03 or 2023-05-03T09:56:17.4357111Z"
	default:
		return "text"
	}
}

// parse returns the value that a text stands for; ok is false when it is not of
// the kind.
func (k Kind) parse(text string) (value any, ok bool) {
	switch k {
	case UUID:
		// uuid.Parse also takes other lengths, and of one of them ignores
		// the first and the last character, whatever they are.
		id, err := uuid.Parse(text)
		return id, err == nil && len(text) == len(id.String())
	case Time:
		return parseTime(text)
	default:
		return text, true
	}
}

// parseTime takes a date, which is its first instant, or a time. Both are UTC
// unless a zone is given.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			t = t.UTC()
			// A zone can push the first and the last year out of what
			// four digits can say.
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// format writes a value so that parse takes it.
func format(value any) string {
	if t, ok := value.(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(value)
}

// joinOps lists comparisons for a person.
func joinOps(ops []Op) string {
	words := make([]string, len(ops))
	for i, op := range ops {
		words[i] = string(op)
	}
	return strings.Join(words, " ")
}
