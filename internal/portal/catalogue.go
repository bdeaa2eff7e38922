package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/settings"
)

// The ids in examples.
var (
	exampleCompany    = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")
	exampleConnection = uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd")
)

// catalogueView is what the list of event types shows.
type catalogueView struct {
	Client       client
	Search       string
	BuiltIn, Own []typeRow
	// Total is how many types there are, whatever is searched for.
	Total int
}

// typeRow is an event type in a list.
type typeRow struct {
	*catalogue.Type
	Href string
}

// About says what an event of the type is about.
func (t typeRow) About() string { return subjectOf(t.Type) }

// About says what an event of the type is about.
func (t typeView) About() string { return subjectOf(t.Type) }

func subjectOf(t *catalogue.Type) string {
	switch {
	case t.Connection && t.Company:
		return "a company's data connection"
	case t.Connection:
		return "a data connection"
	case t.Company:
		return "a company"
	case t.BuiltIn:
		return "the client as a whole"
	default:
		return "the client, or a company"
	}
}

// Rows is how many lines the example has, within the bounds of the form.
func (t typeView) Rows() int { return min(max(3, strings.Count(t.Form.Data.Value, "\n")+2), 16) }

// typePath returns the address of an event type's page.
func (c client) typePath(name string) string { return c.path("/catalogue/" + url.PathEscape(name)) }

// examplePath returns the address of the page that sends an example which a rule meets.
func (c client) examplePath(rule herald.Rule) string {
	if rule.CompanyID == uuid.Nil {
		return c.typePath(rule.Type) + "#send"
	}
	return c.typePath(rule.Type) + "?" + url.Values{"company": {rule.CompanyID.String()}}.Encode() + "#send"
}

// catalogue lists the event types.
func (p *portal) catalogue(r *http.Request, v visit) (answer, error) {
	if said := unknownFilters(r.URL.Query(), "search"); said != "" {
		return answer{}, herald.Invalid("", "%s", said)
	}
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, err
	}
	show := catalogueView{Client: v.client, Search: strings.TrimSpace(cutText(r.URL.Query().Get("search"), maxFilter))}
	for _, t := range known.Types() {
		show.Total++
		switch row := (typeRow{t, v.client.typePath(t.Name)}); {
		case !mentions(t, show.Search):
		case t.BuiltIn:
			show.BuiltIn = append(show.BuiltIn, row)
		default:
			show.Own = append(show.Own, row)
		}
	}
	return page("catalogue.html", "Catalogue", show), nil
}

// mentions reports whether a type has a text in its names, its spellings or its message.
func mentions(t *catalogue.Type, text string) bool {
	all := strings.Join(append([]string{t.Name, t.Label, t.MessageTemplate()}, t.Spellings...), "\n")
	return strings.Contains(strings.ToLower(all), strings.ToLower(text))
}

// typeView is what the page of an event type shows.
type typeView struct {
	*catalogue.Type
	Client client
	Schema payload
	Body   payload
	// Form is the example that is sent, with what cannot be taken.
	Form exampleForm
	Send action
	Self string
}

// exampleForm is an event to publish, as the form shows it.
type exampleForm struct {
	Company, Connection, Data filterField
	// Error is about no field, or about the whole event.
	Error string
}

// typeOf finds the event type that a path names, and makes its page.
func (p *portal) typeOf(r *http.Request, v visit) (typeView, error) {
	name := r.PathValue("type")
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return typeView{}, err
	}
	t, found := known.Lookup(name)
	if !found || t.Retired {
		return typeView{}, herald.Errorf(herald.CodeNotFound, "There is no event type %.80q.%s", name, known.Hint(name))
	}
	self := v.client.typePath(t.Name)
	show := typeView{Type: t, Client: v.client, Self: self, Send: action{Href: self, Reason: v.mayNot()}}
	e := herald.Event{ClientID: v.client.ID, Type: t.Name, Data: t.Example, OccurredAt: p.Now()}
	if t.Company {
		e.CompanyID = exampleCompany
		show.Form.Company.Value = e.CompanyID.String()
	}
	if t.Connection {
		e.ConnectionID = exampleConnection
		show.Form.Connection.Value = e.ConnectionID.String()
	}
	show.Form.Data.Value = indented(t.Example)
	show.Body = payloadOf(p.ExampleBody(v.client.Name, t, e), true, true)
	if spec := t.Spec(); spec != nil && len(spec.Schema) > 0 {
		show.Schema = payloadOf(spec.Schema, true, true)
	}
	return show, nil
}

// catalogueType shows an event type, with an example to send. A link can say of which company.
func (p *portal) catalogueType(r *http.Request, v visit) (answer, error) {
	show, err := p.typeOf(r, v)
	if company, ok := settings.ParseID(r.URL.Query().Get("company")); ok && show.Form.Company.Value != "" {
		show.Form.Company.Value = company.String()
	}
	return page("catalogue-type.html", show.title(), show), err
}

func (t typeView) title() string {
	if t.Type == nil {
		return ""
	}
	return t.Name
}

// sendExample publishes what the form has as a real event, and goes to the event's page.
func (p *portal) sendExample(r *http.Request, v visit) (answer, error) {
	show, err := p.typeOf(r, v)
	if err != nil {
		return answer{}, err
	}
	form := &show.Form
	e := herald.Event{ClientID: v.client.ID, Type: show.Name}
	form.Company.Value, form.Connection.Value, form.Data.Value = strings.TrimSpace(r.PostForm.Get("company")), strings.TrimSpace(r.PostForm.Get("connection")), strings.TrimSpace(r.PostForm.Get("data"))
	for _, field := range []struct {
		of   *filterField
		into *uuid.UUID
	}{{&form.Company, &e.CompanyID}, {&form.Connection, &e.ConnectionID}} {
		if *field.into, err = optionalID("", field.of.Value); err != nil {
			field.of.Error = messageOf(err)
		}
	}
	if form.Data.Value != "" {
		if e.Data, err = p.ReadData([]byte(form.Data.Value)); err != nil {
			form.Data.Error = messageOf(err)
		}
	}
	if len(errorsOf(form.Company, form.Connection, form.Data)) == 0 {
		receipts, err := p.Publisher.Publish(r.Context(), v.caller, []herald.Publication{{Event: e}})
		if err == nil {
			return seeOther("%s?notice=published", v.client.path("/events/"+receipts[0].EventID.String())), nil
		}
		if wait, over := overLimit(err); over {
			form.Error = messageOf(err)
			a := page("catalogue-type.html", show.Name, show)
			a.status, a.retryAfter = http.StatusTooManyRequests, wait
			return a, nil
		}
		if err := form.explain(err); err != nil {
			return answer{}, err
		}
	}
	return wrong("catalogue-type.html", show.Name, show), nil
}

// overLimit reports whether an error is about a limit, and how long to wait.
func overLimit(err error) (wait time.Duration, over bool) {
	var refused *herald.Error
	if !errors.As(err, &refused) || refused.Code != herald.CodeTooMany {
		return 0, false
	}
	return refused.RetryAfter, true
}

// explain puts the message of a refused event beside its field. It returns errors that are not about the event.
func (f *exampleForm) explain(err error) error {
	var refused *herald.Error
	if !errors.As(err, &refused) || refused.Code != herald.CodeInvalid {
		return err
	}
	field := map[string]*filterField{"companyId": &f.Company, "dataConnectionId": &f.Connection, "data": &f.Data}[strings.SplitN(refused.Member, ".", 2)[0]]
	if field == nil {
		f.Error = messageOf(refused)
		return nil
	}
	field.Error = messageOf(refused)
	return nil
}
