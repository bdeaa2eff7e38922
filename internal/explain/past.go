package explain

import (
	"encoding/json"
	"strings"
	"time"

	"herald"
)

// Past is what happened at a delivery's receiver before and after its last attempt.
type Past struct {
	// Searched says that the last success was looked for to the end.
	Searched bool
	// LastSuccess is when a delivery reached the receiver last; zero for never.
	LastSuccess time.Time
	// HeaderChanges are when the client's Authorization header was changed, as far as that is known.
	HeaderChanges []time.Time
	// Others are deliveries of the same alert, as far as they are known. See Repeats.
	Others []herald.Delivery
}

// Part is a piece of a sentence: a text, or a time that the reader's page writes in its way.
type Part struct {
	Text string
	At   time.Time
	// Success says that the time is that of the last success.
	Success bool
}

// Parts returns what the past says about a delivery that has not arrived: the last success at its receiver and,
// where the receiver refused who called, when the Authorization header was changed. Nil if it says nothing.
func (p Past) Parts(d herald.Delivery, attempts []herald.Attempt) []Part {
	a, tried := last(attempts)
	if d.State == herald.Delivered || !tried || !p.Searched {
		return nil
	}
	var between, since time.Time
	if refusesCaller(a) {
		between, since = p.changes(a.At)
	}
	success := Part{At: p.LastSuccess, Success: true}
	var parts []Part
	switch {
	case p.LastSuccess.IsZero():
		parts = []Part{{Text: "Nothing was ever delivered to this receiver."}}
	case p.LastSuccess.After(a.At):
		parts = []Part{{Text: "A later delivery reached this receiver at "}, success, {Text: "."}}
	case !between.IsZero():
		parts = []Part{{Text: "The last success was at "}, success, {Text: "; the header was changed at "}, {At: between}, {Text: "."}}
	default:
		parts = []Part{{Text: "The last success was at "}, success, {Text: "."}}
	}
	if !since.IsZero() {
		parts = append(parts, Part{Text: " The header was changed after this attempt, at "}, Part{At: since}, Part{Text: "."})
	}
	return parts
}

// changes returns the newest change of the header between the last success and an attempt, and the newest after it.
func (p Past) changes(attempt time.Time) (between, since time.Time) {
	for _, at := range p.HeaderChanges {
		switch {
		case at.After(attempt):
			since = later(since, at)
		case at.After(p.LastSuccess):
			between = later(between, at)
		}
	}
	return between, since
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Sentence joins parts to a text. clock writes a time for the reader.
func Sentence(parts []Part, clock func(time.Time) string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString(part.Text)
		if !part.At.IsZero() {
			b.WriteString(clock(part.At))
		}
	}
	return b.String()
}

// HeaderChanges returns when the client's Authorization header was changed, by entries of the audit log.
func HeaderChanges(changes []herald.Change) (times []time.Time) {
	for _, c := range changes {
		if ChangesHeader(c) {
			times = append(times, c.At)
		}
	}
	return times
}

// RefusesCaller reports whether a receiver refused a delivery's last attempt because of who called.
func RefusesCaller(attempts []herald.Attempt) bool {
	a, tried := last(attempts)
	return tried && refusesCaller(a)
}

// ChangesHeader reports whether an entry of the audit log changed the client's Authorization header.
func ChangesHeader(c herald.Change) bool {
	var before, after struct{ AlertAuthHeader string }
	if c.Action != herald.ProfileUpdated || json.Unmarshal(c.Before, &before) != nil || json.Unmarshal(c.After, &after) != nil {
		return false
	}
	// A changed header is marked, because masked ones look alike.
	return strings.HasSuffix(after.AlertAuthHeader, "(changed)") || before.AlertAuthHeader != "" && after.AlertAuthHeader == ""
}
