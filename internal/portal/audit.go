package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of the audit log's page.
const (
	auditPage = 50
	// auditStep is how many entries are read at once, and auditSteps how often: a filter looks through so many.
	auditStep  = 200
	auditSteps = 10
	// maxMember is how much of a changed value is shown, in bytes.
	maxMember = 200
)

// auditFilter selects entries of the audit log.
type auditFilter struct {
	Kind, Actor  string
	Since, Until time.Time
}

func (f auditFilter) meets(c herald.Change) bool {
	kind, _, _ := strings.Cut(string(c.Action), ".")
	return (f.Kind == "" || f.Kind == kind) && (f.Actor == "" || f.Actor == string(c.Actor))
}

// auditView is what the audit log shows.
type auditView struct {
	Tabs                      []tab
	Hidden                    string // why the visitor does not see it
	Kinds, Actors             []option
	Kind, Actor, Since, Until filterField
	Rows                      []changeRow
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

var auditKinds = []option{{Value: "rule", Text: "Rules"}, {Value: "apiKey", Text: "API keys"}, {Value: "profile", Text: "Profile and security"}, {Value: "mailbox", Text: "Mailboxes"}, {Value: "client", Text: "The client"}, {Value: "portalLink", Text: "Portal links"}}

var auditActors = []option{{Value: string(herald.ActorKey), Text: "API keys"}, {Value: string(herald.ActorPortalLink), Text: "Portal links"}, {Value: string(herald.ActorOperator), Text: "The operator"}, {Value: string(herald.ActorReader), Text: "Mails’ readers"}}

// auditLog lists who changed what.
func (p *portal) auditLog(r *http.Request, v visit) (answer, error) {
	values := r.URL.Query()
	show := auditView{Tabs: settingsTabs(v.client, "/audit"), Self: v.client.path("/settings/audit"), Clear: v.client.path("/settings/audit"), Kinds: auditKinds, Actors: auditActors}
	if v.caller.MaySeeAudit() != nil {
		show.Hidden = "You are signed in as an analyst, who does not see the audit log."
		return page("audit.html", "Audit log", show), nil
	}
	f := show.read(values.Get, p.Now())
	if show.Invalid != "" {
		return wrongForm(page("audit.html", "Audit log", show)), nil
	}
	after, err := optionalID("after", values.Get("after"))
	if err != nil {
		return answer{}, err
	}
	found, next, more, err := p.searchAudit(r.Context(), v.client.ID, f, after)
	if err != nil {
		return answer{}, err
	}
	names, err := p.keyNames(r.Context(), v)
	if err != nil {
		return answer{}, err
	}
	for _, c := range found {
		show.Rows = append(show.Rows, rowOf(v, c, names))
	}
	if more {
		show.SearchedTo = herald.TimeOf(next)
	}
	show.cursorLinks = linksOf(show.Self, values, next)
	return page("audit.html", "Audit log", show), nil
}

// read reads the filter from an address. What cannot be read has a message.
func (a *auditView) read(get func(string) string, now time.Time) (f auditFilter) {
	a.Kind.Value, a.Actor.Value = cutText(get("kind"), 40), cutText(get("actor"), 40)
	for _, choice := range []struct {
		field *filterField
		from  []option
		into  *string
	}{{&a.Kind, a.Kinds, &f.Kind}, {&a.Actor, a.Actors, &f.Actor}} {
		text := choice.field.Value
		if *choice.into = text; text != "" && !slices.ContainsFunc(choice.from, func(o option) bool { return o.Value == text }) {
			choice.field.Error = "There is no such choice."
		}
	}
	for _, moment := range []struct {
		field *filterField
		name  string
		into  *time.Time
	}{{&a.Since, "since", &f.Since}, {&a.Until, "until", &f.Until}} {
		if moment.field.Value = cutText(strings.TrimSpace(get(moment.name)), maxFilter); moment.field.Value != "" {
			var err error
			if *moment.into, err = parseMoment(moment.field.Value, now); err != nil {
				moment.field.Error = messageOf(err)
			}
		}
	}
	for _, field := range []filterField{a.Kind, a.Actor, a.Since, a.Until} {
		a.Any = a.Any || field.Value != ""
		if a.Invalid == "" {
			a.Invalid = field.Error
		}
	}
	return f
}

// searchAudit returns a page of entries. next is the cursor of the page behind, uuid.Nil at the end. more says that
// the search was not finished.
func (p *portal) searchAudit(ctx context.Context, of uuid.UUID, f auditFilter, after uuid.UUID) (found []herald.Change, next uuid.UUID, more bool, err error) {
	if until := herald.FirstIDAt(f.Until); !f.Until.IsZero() && (after == uuid.Nil || bytes.Compare(until[:], after[:]) < 0) {
		after = until
	}
	for range auditSteps {
		changes, rest, err := p.Audit.Changes(ctx, of, after, auditStep)
		if err != nil {
			return nil, uuid.Nil, false, err
		}
		for _, c := range changes {
			if !f.Since.IsZero() && c.At.Before(f.Since) {
				return found, uuid.Nil, false, nil
			}
			if !f.meets(c) {
				continue
			}
			if len(found) == auditPage {
				return found, found[auditPage-1].ID, false, nil
			}
			found = append(found, c)
		}
		switch {
		case rest != uuid.Nil:
			after = rest
		case len(changes) < auditStep:
			return found, uuid.Nil, false, nil
		default:
			after = changes[len(changes)-1].ID
		}
	}
	return found, after, true, nil
}

// actionWords say what was done. The others are said by their names.
var actionWords = map[herald.Action]string{
	herald.RuleCreated: "Rule made", herald.RuleUpdated: "Rule changed", herald.RuleDeleted: "Rule deleted", herald.KeyCreated: "API key made", herald.KeyDeleted: "API key revoked",
	herald.ProfileUpdated: "Profile changed", herald.ClientCreated: "Client made", herald.ClientRenamed: "Client renamed", herald.ClientDeleted: "Client deleted",
	herald.MailboxUnsubscribed: "Mailbox unsubscribed", herald.MailboxResubscribed: "Mail allowed again", herald.MailboxConfirmed: "Mailbox confirmed", herald.PortalLinkCreated: "Portal link made",
}

func rowOf(v visit, c herald.Change, keys map[uuid.UUID]string) changeRow {
	row := changeRow{Change: c, What: actionWords[c.Action], Who: actorWord(c, keys), Members: membersOf(c.Before, c.After)}
	if row.What == "" {
		row.What = string(c.Action)
	}
	switch kind, _, _ := strings.Cut(string(c.Action), "."); kind {
	case "rule":
		row.Subject = nameIn(c, "type")
		if c.Action != herald.RuleDeleted {
			row.Href = v.client.path("/rules/" + c.Subject)
		}
	case "apiKey", "client":
		row.Subject = nameIn(c, "name")
	case "mailbox":
		row.Subject = c.Subject
	}
	return row
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
