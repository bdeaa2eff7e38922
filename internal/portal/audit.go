package portal

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of the audit log's page.
const (
	auditPage = 50
	// maxMember is how much of a changed value is shown, in bytes.
	maxMember = 200
)

// auditView is what the audit log shows.
type auditView struct {
	Tabs                        []tab
	Hidden                      string // why the visitor does not see it
	Kinds, Actors               []option
	Action, Actor, Since, Until filterField
	Rows                        []changeRow
	cursorLinks
	SearchedTo  time.Time
	Any         bool
	Invalid     string
	Self, Clear string
}

// changeRow is an entry of the audit log.
type changeRow struct {
	herald.Change
	What, Subject, Href, Who string
	Members                  []memberChange
}

// OtherAction is the chosen action if it is none of the kinds to choose from, as in a link that somebody wrote.
func (a auditView) OtherAction() string {
	if slices.ContainsFunc(a.Kinds, func(o option) bool { return o.Value == a.Action.Value }) {
		return ""
	}
	return a.Action.Value
}

// Named names the members that were changed, or counts them.
func (auditView) Named(members []memberChange) string {
	if len(members) > 2 {
		return plural(len(members), "value", "values")
	}
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// memberChange is a member whose value was changed.
type memberChange struct{ Name, Before, After string }

var auditKinds = []option{{Value: "rule", Text: "Rules"}, {Value: "apiKey", Text: "API keys"}, {Value: "profile", Text: "Profile and security"}, {Value: "mailbox", Text: "Mailboxes"}, {Value: "delivery", Text: "Deliveries"}, {Value: "deliveries", Text: "Recoveries"}, {Value: "issue", Text: "Issues"}, {Value: "notifications", Text: "Notifications"}, {Value: "client", Text: "The client"}, {Value: "portalLink", Text: "Portal links"}}

var auditActors = []option{{Value: string(herald.ActorKey), Text: "API keys"}, {Value: string(herald.ActorPortalLink), Text: "Portal links"}, {Value: string(herald.ActorOperator), Text: "The operator"}, {Value: string(herald.ActorReader), Text: "Mails’ readers"}}

// auditLog lists who changed what.
func (p *portal) auditLog(r *http.Request, v visit) (answer, error) {
	values := r.URL.Query()
	show := auditView{Tabs: settingsTabs(v.client, "/audit"), Self: v.client.path("/settings/audit"), Clear: v.client.path("/settings/audit"), Kinds: auditKinds, Actors: auditActors}
	if v.caller.MaySeeAudit() != nil {
		show.Hidden = "You are signed in as an analyst, who does not see the audit log."
		return page("audit.html", "Audit log", show), nil
	}
	f := show.read(values, p.Now())
	if show.Invalid != "" {
		return wrongForm(page("audit.html", "Audit log", show)), nil
	}
	var err error
	if f.After, err = optionalID("after", values.Get("after")); err != nil {
		return answer{}, err
	}
	found, next, err := p.searchAudit(r.Context(), v.client.ID, f)
	if err != nil {
		return answer{}, err
	}
	if len(found) > auditPage {
		found = found[:auditPage]
		next = found[auditPage-1].ID
	} else if next != uuid.Nil {
		show.SearchedTo = herald.TimeOf(next)
	}
	names, err := p.keyNames(r.Context(), v)
	if err != nil {
		return answer{}, err
	}
	for _, c := range found {
		show.Rows = append(show.Rows, rowOf(v, c, names))
	}
	show.cursorLinks = linksOf(show.Self, values, next)
	return page("audit.html", "Audit log", show), nil
}

// read reads the filter from an address. What cannot be read has a message.
func (a *auditView) read(values url.Values, now time.Time) (f herald.ChangeFilter) {
	reader := &filterReader{values: values}
	for _, field := range []struct {
		name  string
		into  *filterField
		parse func(string) error
	}{
		{"action", &a.Action, func(text string) (err error) {
			f.Actions, err = herald.ParseActions(text)
			return err
		}},
		{"actor", &a.Actor, func(text string) (err error) {
			f.Actor, err = herald.ParseActor(text)
			return err
		}},
		{"since", &a.Since, reader.moment(now, &a.Since, &f.Since)}, {"until", &a.Until, reader.moment(now, &a.Until, &f.Until)},
	} {
		a.Any = reader.read(field.name, field.into, field.parse) || a.Any
	}
	a.Invalid = strings.Join(errorsOf(a.Action, a.Actor, a.Since, a.Until, reader.unknown()), " ")
	return f
}

// searchAudit returns a page of entries. It follows a search that comes back empty for a few parts.
func (p *portal) searchAudit(ctx context.Context, of uuid.UUID, f herald.ChangeFilter) (found []herald.Change, next uuid.UUID, err error) {
	f.Limit = auditPage + 1
	for range maxSearches {
		found, next, err = p.Audit.Changes(ctx, of, f)
		if err != nil || len(found) > 0 || next == uuid.Nil {
			return found, next, err
		}
		f.After = next
	}
	return found, next, nil
}

// actionWords say what was done. The others are said by their names.
var actionWords = map[herald.Action]string{
	herald.RuleCreated: "Rule made", herald.RuleUpdated: "Rule changed", herald.RuleDeleted: "Rule deleted", herald.KeyCreated: "API key made", herald.KeyDeleted: "API key revoked",
	herald.ProfileUpdated: "Profile changed", herald.ClientCreated: "Client made", herald.ClientRenamed: "Client renamed", herald.ClientDeleted: "Client deleted",
	herald.MailboxUnsubscribed: "Mailbox unsubscribed", herald.MailboxResubscribed: "Mail allowed again", herald.MailboxConfirmed: "Mailbox confirmed", herald.PortalLinkCreated: "Portal link made",
	herald.DeliveryRedelivered: "Delivery sent again", herald.DeliveryCancelled: "Delivery cancelled", herald.DeliveryRetried: "Delivery retried at once", herald.DeliveriesRecovered: "Deliveries recovered",
	herald.ClientViewed: "Page opened by the operator", herald.IssueAcknowledged: "Issue acknowledged", herald.NotificationsSet: "Notifications set", herald.NotificationsOff: "Notifications switched off",
}

func rowOf(v visit, c herald.Change, keys map[uuid.UUID]string) changeRow {
	row := changeRow{Change: c, What: actionWords[c.Action], Who: actorWord(c, keys), Members: membersOf(c.Before, c.After)}
	if row.What == "" {
		row.What = string(c.Action)
	}
	switch c.Action.Kind() {
	case "rule":
		row.Subject = nameIn(c, "type")
		if c.Action != herald.RuleDeleted {
			row.Href = v.client.path("/rules/" + c.Subject)
		}
	case "apiKey", "client":
		row.Subject = nameIn(c, "name")
		if c.Action == herald.ClientViewed {
			row.Subject, row.Href = viewedPage(v, c.Subject)
		}
	case "mailbox":
		row.Subject = c.Subject
	}
	return row
}

// viewedPage returns the name of a page that the operator opened, and its address if it is one page.
func viewedPage(v visit, path string) (name, href string) {
	if at := strings.TrimSuffix(path, "/"); !strings.Contains(path, "{") {
		href = v.client.path(at)
		for _, item := range navigation {
			if item.Path == at {
				return item.Name, href
			}
		}
	}
	return path, href
}

// nameIn returns a text of a change's record, after it or, if there is none, before.
func nameIn(c herald.Change, member string) string {
	for _, record := range []json.RawMessage{c.After, c.Before} {
		if text := flat(record)[member]; text != "" {
			return text
		}
	}
	return ""
}

// membersOf returns the members that a change has changed, by name. A thing that was made or deleted has all of its own.
func membersOf(before, after json.RawMessage) (changed []memberChange) {
	from, to := flat(before), flat(after)
	names := maps.Clone(from)
	maps.Copy(names, to)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if from[name] != to[name] {
			changed = append(changed, memberChange{name, from[name], to[name]})
		}
	}
	return changed
}

// flat returns the members of a JSON object as bounded texts. What cannot be read has none.
func flat(record json.RawMessage) map[string]string {
	texts := map[string]string{}
	var members map[string]json.RawMessage
	if json.Unmarshal(record, &members) != nil {
		return texts
	}
	for name, value := range members {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		if len(text) > maxMember {
			text = cutText(text, maxMember) + "…"
		}
		texts[cutText(name, maxMember)] = text
	}
	return texts
}
