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

// ops returns the comparisons for values of the kind (the table of spec section 4.3). No
// member that can be queried is a number.
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

// want describes a value of the kind.
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

// parse parses a value of the kind; ok is false when the text is not one.
func (k Kind) parse(text string) (value any, ok bool) {
	switch k {
	case UUID:
		// uuid.Parse also accepts other lengths. For one of them it ignores the
		// first and the last character.
		id, err := uuid.Parse(text)
		return id, err == nil && len(text) == len(id.String())
	case Time:
		return parseTime(text)
	default:
		return text, true
	}
}

// parseTime parses a time, or a date, which means its first instant. Both are UTC
// unless the text has a zone.
func parseTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			t = t.UTC()
			// A zone can move the first and the last year outside of four
			// digits.
			return t, t.Year() >= 1 && t.Year() <= 9999
		}
	}
	return time.Time{}, false
}

// format formats a value so that parse returns it.
func format(value any) string {
	if t, ok := value.(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(value)
}

// joinOps lists comparisons for people.
func joinOps(ops []Op) string {
	words := make([]string, len(ops))
	for i, op := range ops {
		words[i] = string(op)
	}
	return strings.Join(words, " ")
}
