package portal

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// maxFilter bounds the text of a filter, in bytes.
const maxFilter = 2048

// maxSaid is how many unknown filters a page names.
const maxSaid = 5

// filterField is one field of a filter form, with the message about what was typed.
type filterField struct{ Value, Error string }

// filterReader reads the filter of a list from its address.
type filterReader struct {
	values url.Values
	names  []string // of the filters that were read
}

// read reads a field, and reports whether it is set. What cannot be read is in the field, with a message.
func (r *filterReader) read(name string, into *filterField, parse func(text string) error) bool {
	r.names = append(r.names, name)
	text := strings.TrimSpace(r.values.Get(name))
	into.Value = text
	switch {
	case text == "":
		return false
	case len(text) > maxFilter:
		into.Value, into.Error = "", "That is longer than 2048 bytes."
	default:
		if err := parse(text); err != nil {
			into.Error = messageOf(err)
		}
	}
	return true
}

// unknown says what in the address is none of the filters that were read; empty if all are.
func (r *filterReader) unknown() filterField {
	return filterField{Error: unknownFilters(r.values, r.names...)}
}

// notFilters are what the address of a list has besides its filters.
var notFilters = []string{"after", "back", "notice", "page"}

// unknownFilters says in sentences which parameters of a list's address are none of its filters, and which filters are
// given with several values; empty if there are none. A list without its filter would look like what was asked for.
func unknownFilters(values url.Values, known ...string) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := slices.Compact(slices.Clone(values[name]))
		switch {
		case slices.Contains(notFilters, name):
		case !slices.Contains(known, name):
			said = append(said, fmt.Sprintf("“%s” is no filter of this list.", cutText(name, 40)))
		case len(given) > 1:
			said = append(said, fmt.Sprintf("“%s” has %d values; the list takes one.", name, len(given)))
		}
	}
	if len(said) == 0 {
		return ""
	}
	if more := len(said) - maxSaid; more > 0 {
		said = append(said[:maxSaid], fmt.Sprintf("%d more are wrong.", more))
	}
	return strings.Join(append(said, "It can be filtered by "+strings.Join(known, ", ")+"."), " ")
}

// id returns what parses an id.
func (filterReader) id(name string, into *uuid.UUID) func(string) error {
	return func(text string) (err error) {
		*into, err = optionalID(name, text)
		return err
	}
}

// moment returns what parses a time, or how long ago it was. Of a time without a zone the field says that it is in UTC.
func (filterReader) moment(now time.Time, field *filterField, into *time.Time) func(string) error {
	return func(text string) (err error) {
		if _, zoned, known := parseTime(text); known && !zoned {
			field.Value = text + " UTC"
		}
		*into, err = parseMoment(text, now)
		return err
	}
}

// kind returns what parses an event type, in any accepted spelling. The field gets the type's name, which is what the
// form can choose.
func (filterReader) kind(known *catalogue.Catalogue, field *filterField, into *string) func(string) error {
	return func(text string) error {
		t, found := known.Lookup(text)
		if !found {
			return herald.Invalid("", "There is no event type %.80q.%s", text, known.Hint(text))
		}
		*into, field.Value = t.Name, t.Name
		return nil
	}
}

// typeNames returns the names of the event types, sorted.
func typeNames(known *catalogue.Catalogue) (names []string) {
	for _, t := range known.Types() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

// errorsOf returns the messages about fields that cannot be read.
func errorsOf(fields ...filterField) (messages []string) {
	for _, field := range fields {
		if field.Error != "" {
			messages = append(messages, field.Error)
		}
	}
	return messages
}

// messageOf returns what a person reads of an error.
func messageOf(err error) string {
	var e *herald.Error
	if errors.As(err, &e) {
		return inPortal.Replace(e.Message)
	}
	return err.Error()
}

// optionalID parses an id of an address; an empty text is uuid.Nil.
func optionalID(name, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		return uuid.Nil, herald.Invalid(name, "%.80q is not an id such as 8a210b68-6988-11ed-a1eb-0242ac120002.", text)
	}
	return id, nil
}

// momentLayouts are the forms of a time in a filter, and momentZones those of the zone behind it. Without a zone it is in UTC,
// as on the pages without a script; with scripts, the field gets the reader's.
var (
	momentLayouts = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}
	momentZones   = []string{"Z07:00", " Z07:00", " UTC", ""}
)

// parseTime parses a time, and reports whether it has a zone, and whether it is a time at all.
func parseTime(text string) (at time.Time, zoned, known bool) {
	for _, zone := range momentZones {
		for _, layout := range momentLayouts {
			if at, err := time.Parse(layout+zone, text); err == nil && at.Year() > 0 && at.Year() < 9999 {
				return at.UTC(), zone != "", true
			}
		}
	}
	return time.Time{}, false, false
}

// parseMoment parses a time, or a duration such as 2h or 3d, which means so long ago.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if at, _, known := parseTime(text); known {
		return at, nil
	}
	duration := text
	days, isDays := strings.CutSuffix(text, "d")
	if isDays {
		duration = days + "h"
	}
	ago, err := time.ParseDuration(duration)
	if isDays && ago < 1000*365*time.Hour {
		ago *= 24
	}
	if err != nil || ago < 0 {
		return time.Time{}, herald.Invalid("", "%.80q is no time such as 2026-11-23 09:00 or 2026-11-23 09:00 +01:00, and no duration such as 2h or 3d.", text)
	}
	return now.Add(-ago), nil
}
