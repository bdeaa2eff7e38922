package portal

import (
	"fmt"
	"html/template"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

// functions are what templates can call.
func (p *portal) functions() template.FuncMap {
	return template.FuncMap{
		"asset": p.assets.path, "id": func(id uuid.UUID) idView { return idView{id.String()} },
		"time": func(at time.Time) timeView { return timeView{At: at, Now: p.Now()} }, "moment": func(at time.Time) timeView { return timeView{At: at, Now: p.Now(), Precise: true} },
		"next":  func(at time.Time) timeView { return timeView{At: at, Now: p.Now(), Next: true} },
		"badge": badgeOf, "millis": millis, "plural": plural, "number": number, "number64": func(n int64) string { return number(int(n)) }, "chartLegend": func() []badge { return chartLegend }, "article": article, "statement": statement, "byteSize": byteSize, "reason": reasonWord, "sentence": sentence,
		"now": func() int64 { return p.Now().UnixMilli() }, "notNil": func(id uuid.UUID) bool { return id != uuid.Nil },
		"post":         func(name, text, class string, a action) postButton { return postButton{name, text, class, a} },
		"filter":       func(name, label, hint string, f filterField) filterInput { return filterInput{name, label, hint, f} },
		"filterChoice": func(f filterField, all []string) filterChoices { return filterChoices{f, all} },
		"told":         told,
		"address":      addressOf,
		"short":        shortNote,
		"rule":         func(c client, v herald.Verdict) verdictRule { return verdictRule{v, c} },
		"verdicts":     func(c client, all []herald.Verdict) verdictList { return verdictList{c, all} },
		"nobody":       func() badge { return badge{"off", "stop", "Nobody"} },
		"states":       func() []stateOption { return stateOptions }, "skeleton": func() [6]struct{} { return [6]struct{}{} },
		"scheme": func(value, text, chosen string, fields formFields) schemeChoice {
			return schemeChoice{value, text, chosen, fields}
		},
		"bannerOf": func(d herald.Delivery) string { return badgeOf(d).Kind }, "legend": func() []phase { return allPhases(herald.Timings{}) },
	}
}

// postButton is a button that posts.
type postButton struct {
	Name, Text, Class string
	action
}

// filterInput is a text field of a filter form.
type filterInput struct {
	Name, Label, Hint string
	Field             filterField
}

// filterChoices is a field of a filter form with what it can be.
type filterChoices struct {
	filterField
	Choices []string
}

// schemeChoice is a scheme of the Authorization header to choose, with its fields.
type schemeChoice struct {
	Value, Text, Chosen string
	Fields              formFields
}

// stateOption is a state to choose.
type stateOption struct{ Value, Word string }

var stateOptions = []stateOption{{"pending", "Waiting, retrying, sending"}, {"delivered", "Delivered"}, {"failed", "Failed"}, {"cancelled", "Cancelled"}}

// idView is an id, cut in the middle with its whole text to copy.
type idView struct{ Full string }

// Short is the start and the end of the id.
func (i idView) Short() string {
	if len(i.Full) <= 18 {
		return i.Full
	}
	return i.Full[:8] + "…" + i.Full[len(i.Full)-6:]
}

// addressView is an address in a list: its start, which gives way where there is no room, and its end.
type addressView struct{ Head, Tail string }

// Bounds of an address in a list, in characters. Its page has all of it.
const (
	mostAddress = 64
	addressTail = 12
	mostNote    = 200 // of a note; the page that changes it has all of it
)

func addressOf(text string) addressView {
	all := []rune(text)
	if len(all) <= 2*addressTail {
		return addressView{Head: text}
	}
	a := addressView{string(all[:len(all)-addressTail]), string(all[len(all)-addressTail:])}
	if len(all) > mostAddress {
		a.Head = string(all[:mostAddress-addressTail-1]) + "…"
	}
	return a
}

// shortNote returns the start of a note.
func shortNote(text string) string {
	if all := []rune(text); len(all) > mostNote {
		return string(all[:mostNote]) + "…"
	}
	return text
}

// timeView is a time: relative in lists, exact on the page of one thing. A script writes the
// exact one in the reader's zone; without it, it is in UTC.
type timeView struct {
	At, Now time.Time
	Precise bool
	// Next says that something happens then at the earliest. Once that time has come, it is now.
	Next bool
}

// RFC3339 is the form that programs read.
func (t timeView) RFC3339() string { return t.At.UTC().Format("2006-01-02T15:04:05.000Z") }

// Exact is the form for people.
func (t timeView) Exact() string { return t.At.UTC().Format("2 Jan 2006, 15:04:05 UTC") }

// rfc3339 finds the times in the sentences that are shared with the API.
var rfc3339 = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// toldPart is a part of a sentence: a text, and the time behind it; zero at the end.
type toldPart struct {
	Text string
	At   time.Time
}

// told splits a sentence at its times, which a page shows in the reader's zone.
func told(text string) (parts []toldPart) {
	from := 0
	for _, found := range rfc3339.FindAllStringIndex(text, -1) {
		if at, err := time.Parse(time.RFC3339Nano, text[found[0]:found[1]]); err == nil {
			parts = append(parts, toldPart{text[from:found[0]], at})
			from = found[1]
		}
	}
	return append(parts, toldPart{Text: text[from:]})
}

// Ago is how long ago it was, or how soon it is.
func (t timeView) Ago() string {
	d := t.Now.Sub(t.At)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second || t.Next {
		return "now"
	}
	return span(d) + " ago"
}

// span returns a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	}
}

// badge is a state as icon, word and colour.
type badge struct{ Kind, Icon, Word string }

// badgeOf returns the badge of a delivery's state.
func badgeOf(d herald.Delivery) badge {
	switch {
	case d.State == herald.Delivered:
		return badge{"good", "check", "Delivered"}
	case d.State == herald.Failed:
		return badge{"bad", "cross", "Failed"}
	case d.State == herald.Cancelled:
		return badge{"off", "stop", "Cancelled"}
	case d.InFlight:
		return badge{"busy", "send", "Sending"}
	case d.AttemptCount > 0:
		return badge{"wait", "retry", "Retrying"}
	default:
		return badge{"wait", "clock", "Waiting"}
	}
}

// outcomeBadge returns the badge of an attempt.
func outcomeBadge(o herald.Outcome) badge {
	switch o {
	case herald.OutcomeDelivered:
		return badge{"good", "check", "Delivered"}
	case herald.OutcomeRetry:
		return badge{"wait", "retry", "To be retried"}
	case herald.OutcomeRejected:
		return badge{"bad", "cross", "Failed"}
	default:
		return badge{"off", "question", "Cut off"}
	}
}

// millis returns a duration with its unit.
func millis(ms float64) string {
	switch {
	case ms <= 0:
		return "–"
	case ms < 1:
		return "< 1 ms"
	case ms < 10_000:
		return strconv.FormatFloat(math.Round(ms), 'f', -1, 64) + " ms"
	default:
		return strconv.FormatFloat(math.Round(ms/100)/10, 'f', 1, 64) + " s"
	}
}

// number groups the digits of a number by thousands.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// plural returns a number with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// sentence begins a text with a capital letter.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// article returns a role with its article.
func article(r herald.Role) string {
	if r == herald.Developer {
		return "a developer"
	}
	return "an " + string(r)
}

// statement makes a sentence of a text that may begin with an address.
func statement(text string) string {
	if !strings.HasPrefix(text, "http") {
		text = sentence(text)
	}
	return strings.TrimSuffix(text, ".") + "."
}

func byteSize(n int) string {
	switch {
	case n < 1<<10:
		return plural(n, "byte", "bytes")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
