package portal

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/query"
	"herald/internal/settings"
)

// Bounds of the pages of rules.
const (
	// rulePage is how many rules a page lists. For each it asks for the last alert.
	rulePage = 20
	// ruleAlerts is how many alerts the page of a rule lists.
	ruleAlerts = 10
	// shownMailboxes is how many mailboxes of a rule a list names.
	shownMailboxes = 3
)

// ruleView is a rule as the pages show it.
type ruleView struct {
	herald.Rule
	Href string
	// LastAlert is when the rule's last alert was raised, or the zero time.
	LastAlert time.Time
	Alerts    int
	// Ended are the deliveries of the last days to the rule's receivers, if they are Counted.
	Ended   herald.DeliveryCounts
	Counted bool
}

// Rate is how large a part of the deliveries to the rule's receivers has arrived.
func (r ruleView) Rate() string { return rateOf(r.Ended) }

// Arrived says the same of the numbers behind it, in words.
func (r ruleView) Arrived() string {
	made := r.Ended.Delivered + r.Ended.Failed
	switch {
	case !r.Counted:
		return "not known: the receivers are not among the client’s busiest"
	case made == 0:
		return "no delivery to its receivers has ended"
	}
	return r.Rate() + " of " + plural(int(made), "delivery", "deliveries")
}

// Receivers are the webhook and the mailboxes, as many as a list has room for.
func (r ruleView) Receivers() []string {
	all := r.All()
	if len(all) > shownMailboxes {
		more := plural(len(all)-shownMailboxes+1, "more", "more")
		all = append(all[:shownMailboxes-1:shownMailboxes-1], more)
	}
	return all
}

// All are the webhook and the mailboxes.
func (r ruleView) All() (all []string) {
	if r.Webhook != "" {
		all = append(all, r.Webhook)
	}
	return append(all, herald.Mailboxes(r.Emails)...)
}

// ruleListView is what the list of rules shows.
type ruleListView struct {
	Client       client
	Rows         []ruleView
	Total        int
	Company      filterField
	New          action
	Older, Newer string
	Clear        string
	Invalid      string // why the filter cannot be read
}

// rules lists the client's rules.
func (p *portal) rules(r *http.Request, v visit) (answer, error) {
	values := r.URL.Query()
	list := ruleListView{Client: v.client, Clear: v.client.path("/rules"),
		New: action{v.client.path("/rules/new"), v.mayNot()}}
	var company uuid.UUID
	reader := &filterReader{values: values}
	reader.read("company", &list.Company, reader.id("company", &company))
	list.Invalid = strings.Join(errorsOf(list.Company, reader.unknown()), " ")
	if list.Invalid != "" {
		return wrongForm(page("rules.html", "Rules", list)), nil
	}
	n, err := pageNumber(values.Get("page"))
	if err != nil {
		return answer{}, err
	}
	order := query.Rules().Default
	order.Desc = true // the newest first, as in every list
	found, total, err := p.Rules.Rules(r.Context(), v.client.ID, company, query.List{Page: n, PageSize: rulePage, Order: order})
	if err != nil {
		return answer{}, err
	}
	list.Total = total
	counts, more, err := p.ofReceivers(r.Context(), v.client.ID, herald.StatisticsReceivers)
	if err != nil {
		return answer{}, err
	}
	for _, rule := range found {
		row := ruleView{Rule: rule, Href: v.client.path("/rules/" + rule.ID.String())}
		row.Ended, row.Counted = endedOf(rule, counts, more)
		alerts, count, err := p.lastAlerts(r.Context(), rule, 1)
		if err != nil {
			return answer{}, err
		}
		if row.Alerts = count; len(alerts) > 0 {
			row.LastAlert = alerts[0].RaisedAt()
		}
		list.Rows = append(list.Rows, row)
	}
	at := func(n int) string {
		q := url.Values{"page": {strconv.Itoa(n)}}
		if company != uuid.Nil {
			q.Set("company", company.String())
		}
		return v.client.path("/rules") + "?" + q.Encode()
	}
	if n > 1 {
		list.Newer = at(n - 1)
	}
	if n*rulePage < total {
		list.Older = at(n + 1)
	}
	return page("rules.html", "Rules", list), nil
}

// pageNumber parses the number of a page; an empty text is 1.
func pageNumber(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > query.MaxPage {
		return 0, herald.Invalid("page", "%.20q is no number of a page.", text)
	}
	return n, nil
}

// lastAlerts returns the newest alerts of a rule, and how many there are.
func (p *portal) lastAlerts(ctx context.Context, rule herald.Rule, n int) ([]herald.Alert, int, error) {
	return p.Alerts.Alerts(ctx, rule.ClientID, rule.ID, uuid.Nil, query.List{Page: 1, PageSize: n, Order: query.Alerts().Default})
}

// ruleOf reads the rule that a path names.
func (p *portal) ruleOf(r *http.Request, v visit) (herald.Rule, error) {
	id, ok := settings.ParseID(r.PathValue("rule"))
	if !ok {
		return herald.Rule{}, herald.Errorf(herald.CodeNotFound, "No rule was found with ID %.40s", r.PathValue("rule"))
	}
	return p.Rules.Rule(r.Context(), v.client.ID, id)
}

// ruleDetail is what the page of a rule shows.
type ruleDetail struct {
	ruleView
	Client       client
	Last         []alertRow
	Edit, Delete action
	Test         action
	Deliveries   []link
	Example      string // where an example is sent that the rule meets
}

// link is an address with its text.
type link struct{ Text, Href string }

// alertRow is an alert in a list.
type alertRow struct {
	herald.Alert
	Href string // its deliveries
}

// rule shows a rule and its last alerts.
func (p *portal) rule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if id, isID := settings.ParseID(r.PathValue("rule")); isID && herald.CodeOf(err) == herald.CodeNotFound {
		if a, found, searchErr := p.deletedRule(r.Context(), v, id); searchErr != nil || found {
			return a, searchErr
		}
	}
	if err != nil {
		return answer{}, err
	}
	self := v.client.path("/rules/" + rule.ID.String())
	show := ruleDetail{ruleView: ruleView{Rule: rule, Href: self}, Client: v.client, Edit: action{self + "/edit", v.mayNot()}, Delete: action{self + "/delete", v.mayNot()},
		Test: action{self + "/test", v.mayNot()}, Example: v.client.examplePath(rule)}
	if show.Test.Reason == "" && len(show.All()) == 0 {
		show.Test.Reason = "The rule has no receiver yet."
	}
	counts, more, err := p.ofReceivers(r.Context(), v.client.ID, herald.StatisticsReceivers)
	if err != nil {
		return answer{}, err
	}
	show.Ended, show.Counted = endedOf(rule, counts, more)
	alerts, total, err := p.lastAlerts(r.Context(), rule, ruleAlerts)
	if err != nil {
		return answer{}, err
	}
	show.Alerts = total
	for _, a := range alerts {
		show.Last = append(show.Last, alertRow{a, v.client.path("/deliveries?alert=" + a.ID.String())})
	}
	for _, to := range show.All() {
		address := to
		if !strings.Contains(to, "://") {
			address = herald.MailScheme + to
		}
		show.Deliveries = append(show.Deliveries, link{to, v.client.path("/deliveries?" + url.Values{"type": {rule.Type}, "receiver": {address}}.Encode())})
	}
	return page("rule.html", rule.Type, show), nil
}

// ruleForm is what the page with the form of a rule shows.
type ruleForm struct {
	Fields         formFields
	Action, Cancel string
	Title, Submit  string
	// Reason is why the visitor may save nothing.
	Reason string
	// Preview is what the rule would have met, if that was asked for.
	Preview  *herald.Preview
	Examples []exampleRow
}

// exampleRow is an event that a rule would have met.
type exampleRow struct {
	herald.Example
	Href string
}

// fieldsOfRule are the fields of the form, with what was typed.
func fieldsOfRule(in settings.RuleInput, types *catalogue.Catalogue) formFields {
	kind := formField{Name: "type", Label: "Event type", Hint: "Which events raise an alert. Type to search.", Value: in.Type, Kind: "text", Required: true, Placeholder: "Choose or search"}
	for _, t := range types.Types() {
		kind.Options = append(kind.Options, option{Value: t.Name, Text: about(t)})
	}
	if t, known := types.Lookup(in.Type); known && in.Type != "" {
		kind.Shown = "Chosen: " + strings.TrimSuffix(about(t), ".") + "."
	}
	return formFields{kind,
		{Name: "webhook", Label: "Webhook", Hint: "The address that gets a POST for each alert.", Value: in.Webhook, Kind: "text", Placeholder: "https://your.example/hook"},
		{Name: "emails", Label: "Mailboxes", Hint: "Who gets a mail. One on a line.", Value: strings.Join(in.Emails, "\n"), Kind: "lines"},
		{Name: "companyId", Label: "Company id", Hint: "Only events of this company. Empty: of all companies.", Value: in.CompanyID, Kind: "text", Placeholder: "8a210b68-6988-11ed-a1eb-0242ac120002"},
	}
}

// about describes an event type by its label or, where that is the name, by the message of its alerts.
func about(t *catalogue.Type) string {
	if !strings.EqualFold(t.Label, t.Name) && t.Label != "" {
		return t.Label
	}
	return t.MessageTemplate()
}

// postedRule is what a form says of a rule.
func postedRule(form url.Values) settings.RuleInput {
	return settings.RuleInput{Type: strings.TrimSpace(form.Get("type")), CompanyID: strings.TrimSpace(form.Get("companyId")),
		Webhook: strings.TrimSpace(form.Get("webhook")), Emails: lines(form.Get("emails"))}
}

func (p *portal) ruleForm(r *http.Request, v visit, in settings.RuleInput, title, submit, action, cancel string) (answer, formFields, error) {
	types, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, nil, err
	}
	show := ruleForm{Fields: fieldsOfRule(in, types), Action: action, Cancel: cancel, Title: title, Submit: submit, Reason: v.mayNot()}
	return page("ruleform.html", title, show), show.Fields, nil
}

// newRule has the form of a new rule.
func (p *portal) newRule(r *http.Request, v visit) (answer, error) {
	in := settings.RuleInput{Type: cutText(r.URL.Query().Get("type"), maxFilter)}
	a, _, err := p.newRuleForm(r, v, in)
	return a, err
}

func (p *portal) newRuleForm(r *http.Request, v visit, in settings.RuleInput) (answer, formFields, error) {
	return p.ruleForm(r, v, in, "New rule", "Create the rule", v.client.path("/rules"), v.client.path("/rules"))
}

// createRule makes a rule, and shows it.
func (p *portal) createRule(r *http.Request, v visit) (answer, error) {
	in := postedRule(r.PostForm)
	made, problems, err := p.checkRule(r.Context(), in)
	if err == nil && len(problems) == 0 && asksPreview(r.PostForm) {
		a, _, err := p.newRuleForm(r, v, in)
		if err != nil {
			return answer{}, err
		}
		return p.withPreview(r.Context(), v, a, made)
	}
	if err == nil && len(problems) == 0 {
		made.ID, made.ClientID = herald.NewID(), v.client.ID
		if err := p.Rules.CreateRule(r.Context(), v.caller, made); err != nil {
			return answer{}, err
		}
		return seeOther("%s?notice=rule-created", v.client.path("/rules/"+made.ID.String())), nil
	}
	if err != nil {
		return answer{}, err
	}
	a, fields, err := p.newRuleForm(r, v, in)
	fields.explain(problems)
	return wrongForm(a), err
}

// asksPreview reports whether a form was sent to see what its rule would have met.
func asksPreview(form url.Values) bool { return form.Get("preview") != "" }

// withPreview adds to a form what its rule would have met.
func (p *portal) withPreview(ctx context.Context, v visit, a answer, rule herald.Rule) (answer, error) {
	rule.ClientID = v.client.ID
	preview, err := p.Previewer.Preview(ctx, rule)
	if err != nil {
		return answer{}, err
	}
	show := a.data.(ruleForm)
	show.Preview = &preview
	for _, e := range preview.Examples {
		show.Examples = append(show.Examples, exampleRow{e, v.client.path("/events/" + e.ID.String())})
	}
	a.data = show
	return a, nil
}

// checkRule checks a rule as the API does.
func (p *portal) checkRule(ctx context.Context, in settings.RuleInput) (herald.Rule, settings.Problems, error) {
	types, err := p.Catalogue(ctx)
	if err != nil {
		return herald.Rule{}, nil, err
	}
	made, problems := settings.CheckRule(in, types, p.CheckURL)
	return made, problems, nil
}

// editRule has the form of a rule.
func (p *portal) editRule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if err != nil {
		return answer{}, err
	}
	in := settings.RuleInput{Type: rule.PostedType, Webhook: rule.Webhook, Emails: rule.Emails}
	if in.Type == "" {
		in.Type = rule.Type
	}
	if rule.CompanyID != uuid.Nil {
		in.CompanyID = rule.CompanyID.String()
	}
	a, _, err := p.editRuleForm(r, v, rule.ID, in)
	return a, err
}

func (p *portal) editRuleForm(r *http.Request, v visit, id uuid.UUID, in settings.RuleInput) (answer, formFields, error) {
	self := v.client.path("/rules/" + id.String())
	return p.ruleForm(r, v, in, "Edit the rule", "Save", self+"/edit", self)
}

// saveRule replaces a rule.
func (p *portal) saveRule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if err != nil {
		return answer{}, err
	}
	in := postedRule(r.PostForm)
	changed, problems, err := p.checkRule(r.Context(), in)
	if err != nil {
		return answer{}, err
	}
	if len(problems) > 0 {
		a, fields, err := p.editRuleForm(r, v, rule.ID, in)
		fields.explain(problems)
		return wrongForm(a), err
	}
	if asksPreview(r.PostForm) {
		a, _, err := p.editRuleForm(r, v, rule.ID, in)
		if err != nil {
			return answer{}, err
		}
		return p.withPreview(r.Context(), v, a, changed)
	}
	changed.ID, changed.ClientID = rule.ID, v.client.ID
	if _, err := p.Rules.UpdateRule(r.Context(), v.caller, changed); err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=rule-saved", v.client.path("/rules/"+rule.ID.String())), nil
}
