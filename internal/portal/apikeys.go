package portal

import (
	"net/http"
	"strings"

	"herald"
	"herald/internal/settings"
)

// keysView is what the page of API keys shows.
type keysView struct {
	Tabs   []tab
	Rows   []keyRow
	Fields formFields
	Action string
	// Reason is why the visitor may make none, Hidden why they see none.
	Reason, Hidden string
	// New is the key that was just made, and Made its plain text. It is shown this once.
	New  herald.Key
	Made string
}

// keyRow is a key in the list.
type keyRow struct {
	herald.Key
	Own    bool // the visitor signed in with it
	Revoke action
}

func (p *portal) keysPage(r *http.Request, v visit) (keysView, error) {
	show := keysView{Tabs: settingsTabs(v.client, "/keys"), Action: v.client.path("/settings/keys"), Reason: v.mayNot()}
	if v.caller.MaySeeKeys() != nil {
		show.Hidden = "You are signed in as an analyst, who does not see keys."
		return show, nil
	}
	keys, err := p.APIKeys.Keys(r.Context(), v.client.ID)
	if err != nil {
		return show, err
	}
	for _, k := range keys {
		row := keyRow{Key: k, Own: k.ID == v.caller.Key.ID, Revoke: action{Href: v.client.path("/settings/keys/" + k.ID.String() + "/revoke")}}
		switch {
		case v.caller.MayManageKeys(k.Role) != nil:
			row.Revoke.Reason = "Only an administrator revokes it."
		case len(keys) == 1:
			row.Revoke.Reason = "The last key stays. Make another first."
		}
		show.Rows = append(show.Rows, row)
	}
	if len(keys) >= herald.MaxKeys && show.Reason == "" {
		show.Reason = "A client has at most " + plural(herald.MaxKeys, "key", "keys") + ". Revoke one that is not used."
	}
	role := formField{Name: "role", Label: "Role", Kind: "choice", Value: string(herald.Developer)}
	for _, one := range herald.Roles() {
		o := option{Value: string(one), Text: roleWords[one]}
		if v.caller.MayManageKeys(one) != nil {
			o.Text, o.Disabled = o.Text+" (only an administrator makes one)", true
		}
		role.Options = append(role.Options, o)
	}
	show.Fields = formFields{{Name: "name", Label: "Name", Hint: "What uses the key. Empty: one is made up.", Kind: "text", Placeholder: "Billing service"}, role}
	return show, nil
}

// roleWords say what a role may do.
var roleWords = map[herald.Role]string{
	herald.Administrator: "Administrator: everything", herald.Developer: "Developer: everything but administrators’ keys",
	herald.Analyst: "Analyst: looks only, without keys and secrets",
}

// keys lists the API keys.
func (p *portal) keys(r *http.Request, v visit) (answer, error) {
	show, err := p.keysPage(r, v)
	return page("keys.html", "API keys", show), err
}

// createKey makes a key and shows it, this once: no later page has it.
func (p *portal) createKey(r *http.Request, v visit) (answer, error) {
	name, role := strings.TrimSpace(r.PostForm.Get("name")), r.PostForm.Get("role")
	if problems := settings.CheckKey(name, role); len(problems) > 0 {
		show, err := p.keysPage(r, v)
		for i := range show.Fields {
			show.Fields[i].Value = r.PostForm.Get(show.Fields[i].Name)
		}
		show.Fields.explain(problems)
		return wrongForm(page("keys.html", "API keys", show)), err
	}
	if err := v.caller.MayManageKeys(herald.Role(role)); err != nil {
		return answer{}, err
	}
	made, plain, err := p.APIKeys.CreateKey(r.Context(), v.caller, v.client.ID, name, herald.Role(role))
	if err != nil {
		return answer{}, err
	}
	show, err := p.keysPage(r, v)
	show.New, show.Made = made, plain
	a := page("keys.html", "API keys", show)
	a.status = http.StatusCreated
	return a, err
}

// keyDeletion is what the page shows that asks before a key is revoked.
type keyDeletion struct {
	keyRow
	Back string
}

func (p *portal) keyOf(r *http.Request, v visit) (keyRow, error) {
	show, err := p.keysPage(r, v)
	if err == nil && show.Hidden != "" {
		err = herald.Errorf(herald.CodeForbidden, "%s", show.Hidden)
	}
	for _, row := range show.Rows {
		if row.ID.String() == r.PathValue("key") {
			return row, err
		}
	}
	if err == nil {
		err = herald.Errorf(herald.CodeNotFound, "No API key was found with ID %.40s", r.PathValue("key"))
	}
	return keyRow{}, err
}

// askRevokeKey asks before a key is revoked; a script shows the page as a dialog.
func (p *portal) askRevokeKey(r *http.Request, v visit) (answer, error) {
	row, err := p.keyOf(r, v)
	return page("keyrevoke.html", "Revoke the key?", keyDeletion{row, v.client.path("/settings/keys")}), err
}

// revokeKey revokes a key. Who signed in with it is signed out.
func (p *portal) revokeKey(r *http.Request, v visit) (answer, error) {
	row, err := p.keyOf(r, v)
	if err == nil {
		err = p.APIKeys.DeleteKey(r.Context(), v.caller, v.client.ID, row.ID)
	}
	if err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=key-revoked", v.client.path("/settings/keys")), nil
}
