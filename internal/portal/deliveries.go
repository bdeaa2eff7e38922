package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of the list of deliveries.
const (
	deliveryPage = 50
	// maxSearches is how many parts of a long search one page makes. Then it shows how far it came.
	maxSearches = 4
	// maxBack is how many pages back a list remembers.
	maxBack = 20
	// maxFilter bounds the text of a filter, in bytes.
	maxFilter = 2048
)

// filterField is one field of the filter form, with the message about what was typed.
type filterField struct{ Value, Error string }

// deliveryFilterForm is the filter as the form shows it. All of it is in the address, so that a link
// shows the same list.
type deliveryFilterForm struct {
	State, Type, Receiver, Company, Reason, Since, Until, Alert filterField
	// More says that a filter beside state and type is set, so that the form shows all of them.
	More bool
	// Any says that any filter is set.
	Any bool
}

// deliveryListView is what the list of deliveries shows.
type deliveryListView struct {
	Filter  deliveryFilterForm
	Types   []string
	Reasons []herald.Reason
	Client  client
	Rows    []deliveryRow
	// Older and Newer are the addresses of the next pages, Newest that of the first one.
	Older, Newer, Newest string
	// SearchedTo is how far an unfinished search came; zero if it is finished.
	SearchedTo time.Time
	Clear      string
	// None says that there is no delivery at all, so that no filter is to blame.
	None bool
	// Invalid says that a filter cannot be read, so that nothing was searched.
	Invalid bool
}

// deliveryRow is one delivery in a list.
type deliveryRow struct {
	herald.Delivery
	Href string
}

// Result is the result of the last attempt in a word.
func (d deliveryRow) Result() string { return resultOf(d.LastStatus, d.LastReason, d.Reason) }

// At is when the delivery was made.
func (d deliveryRow) At() time.Time {
	if !d.MadeAt.IsZero() {
		return d.MadeAt
	}
	return d.RaisedAt
}

// deliveries lists the client's deliveries.
func (p *portal) deliveries(r *http.Request, v visit) (answer, error) {
	values := r.URL.Query()
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, err
	}
	list := deliveryListView{Client: v.client, Reasons: herald.Reasons(), Clear: v.client.path("/deliveries")}
	for _, t := range known.Types() {
		list.Types = append(list.Types, t.Name)
	}
	slices.Sort(list.Types)
	f, form := deliveryFilter(values, p.Now(), func(spelling string) (string, bool) {
		if t, found := known.Lookup(spelling); found {
			return t.Name, true
		}
		return known.Hint(spelling), false
	})
	list.Filter = form
	if len(form.Errors()) > 0 {
		list.Invalid = true
		a := page("deliveries.html", "Deliveries", list)
		a.status = http.StatusUnprocessableEntity
		return a, nil
	}
	if f.After, err = optionalID("after", values.Get("after")); err != nil {
		return answer{}, err
	}
	found, next, err := p.search(r.Context(), v.client.ID, f)
	if err != nil {
		return answer{}, err
	}
	list.show(found, next, values)
	list.None = len(found) == 0 && next == uuid.Nil && !form.Any && f.After == uuid.Nil
	return page("deliveries.html", "Deliveries", list), nil
}

// search lists a page of deliveries. It follows a search that comes back empty for a few parts.
func (p *portal) search(ctx context.Context, of uuid.UUID, f herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error) {
	f.Limit = deliveryPage + 1
	for range maxSearches {
		found, next, err = p.Deliveries.Deliveries(ctx, of, f)
		if err != nil || len(found) > 0 || next == uuid.Nil {
			return found, next, err
		}
		f.After = next
	}
	return found, next, nil
}

// show fills in the rows and the links to the other pages. The pages before are in the address, so that
// the way back needs no script and no session.
func (l *deliveryListView) show(found []herald.Delivery, next uuid.UUID, values url.Values) {
	if len(found) > deliveryPage {
		found = found[:deliveryPage]
		next = found[deliveryPage-1].ID
	} else if next != uuid.Nil {
		l.SearchedTo = herald.TimeOf(next)
	}
	for _, d := range found {
		l.Rows = append(l.Rows, deliveryRow{d, l.Client.path("/deliveries/" + d.ID.String())})
	}
	after, back := values.Get("after"), strings.FieldsFunc(values.Get("back"), func(r rune) bool { return r == ',' })
	at := func(after string, back []string) string {
		q := url.Values{}
		for name, given := range values {
			if name != "after" && name != "back" && name != "notice" && given[0] != "" {
				q[name] = given[:1]
			}
		}
		if after != "" {
			q.Set("after", after)
		}
		if back = back[max(0, len(back)-maxBack):]; len(back) > 0 {
			q.Set("back", strings.Join(back, ","))
		}
		return l.Client.path("/deliveries") + "?" + q.Encode()
	}
	if next != uuid.Nil {
		if after != "" {
			l.Older = at(next.String(), append(back, after))
		} else {
			l.Older = at(next.String(), back)
		}
	}
	if after == "" {
		return
	}
	l.Newest = at("", nil)
	if l.Newer = l.Newest; len(back) > 0 {
		l.Newer = at(back[len(back)-1], back[:len(back)-1])
	}
}

// deliveryFilter reads the filter from an address. What cannot be read is in the form, with a message.
func deliveryFilter(values url.Values, now time.Time, typeOf func(string) (name string, found bool)) (f herald.DeliveryFilter, form deliveryFilterForm) {
	read := func(name string, into *filterField, parse func(text string) error) {
		text := strings.TrimSpace(values.Get(name))
		into.Value = text
		switch {
		case text == "":
			return
		case len(text) > maxFilter:
			into.Value, into.Error = "", "That is longer than 2048 bytes."
		default:
			if err := parse(text); err != nil {
				into.Error = messageOf(err)
			}
		}
		form.Any = true
		form.More = form.More || name != "state" && name != "type"
	}
	read("state", &form.State, func(text string) error {
		f.State = new(herald.State)
		return f.State.UnmarshalText([]byte(text))
	})
	read("type", &form.Type, func(text string) error {
		name, found := typeOf(text)
		if !found {
			return herald.Invalid("", "There is no event type %.80q.%s", text, name)
		}
		f.Type = name
		return nil
	})
	read("receiver", &form.Receiver, func(text string) error {
		f.Receiver = text
		return nil
	})
	for name, field := range map[string]struct {
		form *filterField
		into *uuid.UUID
	}{"company": {&form.Company, &f.Company}, "alert": {&form.Alert, &f.Alert}} {
		read(name, field.form, func(text string) (err error) {
			*field.into, err = optionalID(name, text)
			return err
		})
	}
	read("reason", &form.Reason, func(text string) (err error) {
		if f.Reason, err = herald.ParseReason(text); err != nil {
			return herald.Invalid("", "%.80q is not one of the reasons. Choose one from the list.", text)
		}
		return nil
	})
	for name, field := range map[string]struct {
		form *filterField
		into *time.Time
	}{"since": {&form.Since, &f.Since}, "until": {&form.Until, &f.Until}} {
		read(name, field.form, func(text string) (err error) {
			*field.into, err = parseMoment(text, now)
			return err
		})
	}
	return f, form
}

// Errors returns the messages about fields that cannot be read.
func (f deliveryFilterForm) Errors() (messages []string) {
	for _, field := range []filterField{f.State, f.Type, f.Receiver, f.Company, f.Reason, f.Since, f.Until, f.Alert} {
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
		return e.Message
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

// momentLayouts are the forms of a time in a filter. Without a zone it is in UTC, as on the pages without a script.
var momentLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseMoment parses a time, or a duration such as 2h or 3d, which means so long ago.
func parseMoment(text string, now time.Time) (time.Time, error) {
	for _, layout := range momentLayouts {
		if at, err := time.Parse(layout, text); err == nil && at.Year() > 0 && at.Year() < 9999 {
			return at.UTC(), nil
		}
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
		return time.Time{}, herald.Invalid("", "%.80q is no time such as 2026-11-23 09:00, and no duration such as 2h or 3d.", text)
	}
	return now.Add(-ago), nil
}
