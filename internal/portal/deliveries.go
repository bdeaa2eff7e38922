package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// Bounds of the list of deliveries.
const (
	deliveryPage = 50
	// maxSearches is how many parts of a long search one page makes. Then it shows how far it came.
	maxSearches = 4
	// maxBack is how many pages back a list remembers.
	maxBack = 20
)

// deliveryFilterForm is the filter as the form shows it. All of it is in the address, so that a link
// shows the same list.
type deliveryFilterForm struct {
	State, Type, Receiver, Company, Reason, Since, Until, Alert, Event, Rule, Status, Unknown filterField
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
	// Left are deliveries that a page which refreshes itself shows, and that are not in Rows any more.
	Left []deliveryRow
	cursorLinks
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

// Test says that the delivery is a test of its rule.
func (d deliveryRow) Test() bool { return herald.IsTest(d.ID) }

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
	list.Types = typeNames(known)
	f, form := deliveryFilter(values, p.Now(), known)
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
	if err := p.addLeft(r, v, &list); err != nil {
		return answer{}, err
	}
	list.None = len(found) == 0 && next == uuid.Nil && !form.Any && f.After == uuid.Nil
	return page("deliveries.html", "Deliveries", list), nil
}

// shownHeader names the deliveries that a page shows which refreshes itself, as far as they may change.
const shownHeader = "Herald-Shown"

// addLeft adds the deliveries that the visitor sees and the list has no more: they do not meet the filter any more, or newer
// ones have taken their place.
func (p *portal) addLeft(r *http.Request, v visit, list *deliveryListView) error {
	shown := strings.FieldsFunc(r.Header.Get(shownHeader), func(r rune) bool { return r == ',' })
	for _, text := range shown[:min(len(shown), deliveryPage)] {
		id, err := optionalID(shownHeader, text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list.Rows, func(row deliveryRow) bool { return row.ID == id }) {
			continue
		}
		d, _, err := p.Deliveries.Delivery(r.Context(), v.client.ID, id)
		if herald.CodeOf(err) == herald.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		list.Left = append(list.Left, deliveryRow{d, v.client.path("/deliveries/" + d.ID.String())})
	}
	return nil
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

// show fills in the rows and the links to the other pages.
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
	l.cursorLinks = linksOf(l.Client.path("/deliveries"), values, next)
}

// cursorLinks are the addresses of the next pages of a list, and that of its first one; empty without one.
type cursorLinks struct{ Older, Newer, Newest string }

// linksOf returns the links of a page of a list. next is the cursor of the page behind it, uuid.Nil at the end.
// The pages before are in the address, so that the way back needs no script and no session.
func linksOf(path string, values url.Values, next uuid.UUID) (l cursorLinks) {
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
		return path + "?" + q.Encode()
	}
	if next != uuid.Nil {
		if after != "" {
			l.Older = at(next.String(), append(back, after))
		} else {
			l.Older = at(next.String(), back)
		}
	}
	if after == "" {
		return l
	}
	l.Newest = at("", nil)
	if l.Newer = l.Newest; len(back) > 0 {
		l.Newer = at(back[len(back)-1], back[:len(back)-1])
	}
	return l
}

// deliveryFilter reads the filter from an address. What cannot be read is in the form, with a message.
func deliveryFilter(values url.Values, now time.Time, known *catalogue.Catalogue) (f herald.DeliveryFilter, form deliveryFilterForm) {
	reader := &filterReader{values: values}
	read := func(name string, into *filterField, parse func(text string) error) {
		if reader.read(name, into, parse) {
			form.Any = true
			form.More = form.More || name != "state" && name != "type"
		}
	}
	read("state", &form.State, func(text string) error {
		f.State = new(herald.State)
		return f.State.UnmarshalText([]byte(text))
	})
	read("type", &form.Type, reader.kind(known, &form.Type, &f.Type))
	read("receiver", &form.Receiver, func(text string) error {
		f.Receiver = text
		return nil
	})
	read("company", &form.Company, reader.id("company", &f.Company))
	read("alert", &form.Alert, reader.id("alert", &f.Alert))
	read("event", &form.Event, reader.id("event", &f.Event))
	read("rule", &form.Rule, reader.id("rule", &f.Rule))
	read("status", &form.Status, func(text string) (err error) {
		f.Status, err = herald.ParseStatuses(text)
		return err
	})
	read("reason", &form.Reason, func(text string) (err error) {
		if f.Reason, err = herald.ParseReason(text); err != nil {
			return herald.Invalid("", "%.80q is not one of the reasons. Choose one from the list.", text)
		}
		return nil
	})
	read("since", &form.Since, reader.moment(now, &form.Since, &f.Since))
	read("until", &form.Until, reader.moment(now, &form.Until, &f.Until))
	form.Unknown = reader.unknown()
	return f, form
}

// Errors returns the messages about fields that cannot be read.
func (f deliveryFilterForm) Errors() []string {
	return errorsOf(f.State, f.Type, f.Receiver, f.Company, f.Reason, f.Since, f.Until, f.Alert, f.Event, f.Rule, f.Status, f.Unknown)
}
