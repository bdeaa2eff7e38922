package portal

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/explain"
	"herald/internal/settings"
)

// tab is a link to a page of a group.
type tab struct {
	Text, Href string
	Current    bool
}

// settingsTabs are the pages of the settings; here is the current one.
func settingsTabs(c client, here string) (tabs []tab) {
	for _, t := range []struct{ text, path string }{
		{"Profile", ""}, {"Security", "/security"}, {"API keys", "/keys"}, {"Mail", "/mail"}, {"Notifications", "/notifications"}, {"Audit log", "/audit"},
	} {
		tabs = append(tabs, tab{t.text, c.path("/settings" + t.path), t.path == here})
	}
	return tabs
}

// profileView is what the page of the profile shows.
type profileView struct {
	Tabs   []tab
	Fields formFields
	Action string
	Reason string // why the visitor may save nothing
}

func profileForm(v visit, p herald.Profile) profileView {
	confirm := ""
	if p.ConfirmCompanyName {
		confirm = "yes"
	}
	return profileView{Tabs: settingsTabs(v.client, ""), Action: v.client.path("/settings"), Reason: v.mayNot(), Fields: formFields{
		{Name: "name", Label: "Name", Hint: "It is in every webhook and mail.", Value: p.Name, Kind: "text", Required: true},
		{Name: "redirectUrl", Label: "Redirect URL", Hint: "Where people go after they have linked a company. It may have placeholders.", Value: p.RedirectURL, Kind: "text", Placeholder: "https://your.example/{companyId}"},
		{Name: "logoUrl", Label: "Logo", Hint: "The address of an image.", Value: p.LogoURL, Kind: "text", Placeholder: "https://your.example/logo.png"},
		{Name: "iconUrl", Label: "Icon", Hint: "The address of an image.", Value: p.IconURL, Kind: "text", Placeholder: "https://your.example/icon.png"},
		{Name: "whiteListUrls", Label: "Addresses that may be redirected to", Hint: "One on a line.", Value: strings.Join(p.WhiteListURLs, "\n"), Kind: "lines"},
		{Name: "confirmCompanyName", Label: "People confirm the company’s name", Value: confirm, Kind: "check"},
	}}
}

// profile shows the profile as a form.
func (p *portal) profile(r *http.Request, v visit) (answer, error) {
	c, err := p.Clients.Client(r.Context(), v.client.ID)
	return page("settings.html", "Profile", profileForm(v, c.Profile)), err
}

// saveProfile replaces the profile but for the Authorization header.
func (p *portal) saveProfile(r *http.Request, v visit) (answer, error) {
	c, err := p.Clients.Client(r.Context(), v.client.ID)
	if err != nil {
		return answer{}, err
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	changed := herald.Profile{Name: get("name"), RedirectURL: get("redirectUrl"), LogoURL: get("logoUrl"), IconURL: get("iconUrl"), WhiteListURLs: lines(get("whiteListUrls")),
		ConfirmCompanyName: get("confirmCompanyName") != "", AlertAuthHeader: c.Profile.AlertAuthHeader}
	if problems := settings.CheckProfile(changed, c.Profile); len(problems) > 0 {
		show := profileForm(v, changed)
		show.Fields.explain(problems)
		return wrongForm(page("settings.html", "Profile", show)), nil
	}
	if _, err := p.Profiles.SaveProfileKeepingHeader(r.Context(), v.caller, v.client.ID, changed); err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=saved", v.client.path("/settings")), nil
}

// securityView is what the page of the Authorization header shows.
type securityView struct {
	Tabs   []tab
	Action string
	Reason string
	// Present says what is sent now, without its secret.
	Present string
	Sent    bool
	// ChangedAt and ChangedBy are about its last change; zero if it is not known.
	ChangedAt time.Time
	ChangedBy string
	Scheme    string // that the form has chosen
	Fields    formFields
}

// Of returns the fields of a scheme, and Wrong all with a message.
func (s securityView) Of(names ...string) (fields formFields) {
	for _, name := range names {
		for _, f := range s.Fields {
			if f.Name == name {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// security shows what Authorization header is sent, and the form that changes it.
func (p *portal) security(r *http.Request, v visit) (answer, error) {
	show, err := p.securityForm(r.Context(), v, settings.Authorization{})
	return page("security.html", "Security", show), err
}

// securityForm has what was typed but for the secrets.
func (p *portal) securityForm(ctx context.Context, v visit, typed settings.Authorization) (securityView, error) {
	show := securityView{Tabs: settingsTabs(v.client, "/security"), Action: v.client.path("/settings/security"), Reason: v.mayNot(), Scheme: typed.Scheme}
	c, err := p.Clients.Client(ctx, v.client.ID)
	if err != nil {
		return show, err
	}
	scheme := settings.SchemeOf(c.Profile.AlertAuthHeader)
	show.Sent = scheme != settings.SchemeNone
	if show.Present = presentHeader[scheme]; show.Sent && !v.caller.MaySeeSecrets() {
		show.Present = "An Authorization header is sent."
	} else if typed.Scheme == "" {
		show.Scheme = scheme
	}
	show.Fields = formFields{
		{Name: "user", Label: "User name", Value: typed.User, Kind: "text"}, {Name: "password", Label: "Password", Kind: "password"},
		{Name: "token", Label: "Token", Hint: "The token alone, without the word Bearer.", Kind: "password"},
		{Name: "value", Label: "Value", Hint: "It is sent as it is.", Kind: "password"}, {Name: "scheme", Label: "What is sent", Kind: "choice"},
	}
	changed, err := p.headerChange(ctx, v)
	if err != nil || changed.At.IsZero() {
		return show, err
	}
	show.ChangedAt = changed.At
	show.ChangedBy, err = p.actorOf(ctx, v, changed)
	return show, err
}

// presentHeader says what is sent, by scheme.
var presentHeader = map[string]string{
	settings.SchemeNone: "No Authorization header is sent.", settings.SchemeBasic: "Basic: a user name and a password are sent.",
	settings.SchemeBearer: "Bearer: a token is sent.", settings.SchemeOther: "A value of another kind is sent.",
}

// headerChange returns the last change of the Authorization header, as far as the visitor may see the audit log.
func (p *portal) headerChange(ctx context.Context, v visit) (herald.Change, error) {
	if v.caller.MaySeeAudit() != nil {
		return herald.Change{}, nil
	}
	changes, _, err := p.Audit.Changes(ctx, v.client.ID, herald.ChangeFilter{Actions: []herald.Action{herald.ProfileUpdated}, Limit: auditEntries})
	for _, c := range changes {
		if explain.ChangesHeader(c) {
			return c, err
		}
	}
	return herald.Change{}, err
}

// actorOf says who made a change.
func (p *portal) actorOf(ctx context.Context, v visit, c herald.Change) (string, error) {
	if c.APIKeyID == uuid.Nil {
		return actorWord(c, nil), nil
	}
	names, err := p.keyNames(ctx, v)
	return actorWord(c, names), err
}

func (p *portal) keyNames(ctx context.Context, v visit) (map[uuid.UUID]string, error) {
	keys, err := p.APIKeys.Keys(ctx, v.client.ID)
	names := make(map[uuid.UUID]string, len(keys))
	for _, k := range keys {
		names[k.ID] = k.Name
	}
	return names, err
}

func actorWord(c herald.Change, keys map[uuid.UUID]string) string {
	switch {
	case c.Actor == herald.ActorOperator:
		return "the operator"
	case c.Actor == herald.ActorReader:
		return "a mail’s reader"
	case c.Actor == herald.ActorPortalLink:
		return "a person with a portal link"
	}
	name, known := keys[c.APIKeyID]
	switch {
	case !known:
		return "a key that was revoked since"
	case name == "":
		return "a key without a name"
	default:
		return "the key “" + name + "”"
	}
}

// saveSecurity sets the Authorization header.
func (p *portal) saveSecurity(r *http.Request, v visit) (answer, error) {
	typed := typedAuthorization(r.PostForm)
	header, problems := typed.Header()
	if len(problems) == 0 {
		if err := p.Profiles.SaveAuthorization(r.Context(), v.caller, v.client.ID, header); err != nil {
			return answer{}, err
		}
		return seeOther("%s?notice=header-saved", v.client.path("/settings/security")), nil
	}
	show, err := p.securityForm(r.Context(), v, typed)
	show.Fields.explain(problems)
	return wrongForm(page("security.html", "Security", show)), err
}

func typedAuthorization(form url.Values) settings.Authorization {
	return settings.Authorization{Scheme: form.Get("scheme"), User: strings.TrimSpace(form.Get("user")), Password: form.Get("password"),
		Token: strings.TrimSpace(form.Get("token")), Value: strings.TrimSpace(form.Get("value"))}
}

// shownUnsubscribed is how many mailboxes that want no mail a page shows.
const shownUnsubscribed = 200

// mailView is what the page of mailboxes shows that want no mail.
type mailView struct {
	Tabs   []tab
	Rows   []herald.Unsubscribed
	Total  int
	Action string
	Reason string
	Find   filterField
	Clear  string
}

// mail lists the mailboxes that want no mail.
func (p *portal) mail(r *http.Request, v visit) (answer, error) {
	if said := unknownFilters(r.URL.Query(), "find"); said != "" {
		return answer{}, herald.Invalid("", "%s", said)
	}
	show := mailView{Tabs: settingsTabs(v.client, "/mail"), Action: v.client.path("/settings/mail"), Reason: v.mayNot(), Clear: v.client.path("/settings/mail"),
		Find: filterField{Value: cutText(strings.TrimSpace(r.URL.Query().Get("find")), maxFilter)}}
	boxes, err := p.Mailboxes.Unsubscribed(r.Context(), v.client.ID)
	for _, box := range boxes {
		if !strings.Contains(strings.ToLower(box.Address), strings.ToLower(show.Find.Value)) {
			continue
		}
		if show.Total++; len(show.Rows) < shownUnsubscribed {
			show.Rows = append(show.Rows, box)
		}
	}
	return page("mail.html", "Mail", show), err
}

// allowMail allows mail to a mailbox again.
func (p *portal) allowMail(r *http.Request, v visit) (answer, error) {
	if err := p.Mailboxes.Resubscribe(r.Context(), v.caller, v.client.ID, r.PostForm.Get("address")); err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=mail-allowed", v.client.path("/settings/mail")), nil
}
