package codat

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/settings"
)

// profile is a profile in an answer (spec section 6.1). It has no member apiKey, because
// an answer has a key only when the key was made. No member is null: the vendor's OpenAPI
// types them as plain strings, and its clients refuse a null.
type profile struct {
	Name               string   `json:"name"`
	LogoURL            string   `json:"logoUrl,omitempty" format:"uri"`
	IconURL            string   `json:"iconUrl,omitempty" format:"uri"`
	RedirectURL        string   `json:"redirectUrl" doc:"A URI template; empty: none is set."`
	WhiteListURLs      []string `json:"whiteListUrls"`
	AlertAuthHeader    string   `json:"alertAuthHeader,omitempty" doc:"Sent verbatim as the Authorization header of the client's webhooks; absent: none is sent."`
	ConfirmCompanyName bool     `json:"confirmCompanyName"`
}

func viewProfile(p herald.Profile) profile {
	view := profile{
		Name: p.Name, LogoURL: p.LogoURL, IconURL: p.IconURL, RedirectURL: p.RedirectURL,
		WhiteListURLs: p.WhiteListURLs, AlertAuthHeader: p.AlertAuthHeader, ConfirmCompanyName: p.ConfirmCompanyName,
	}
	if view.WhiteListURLs == nil {
		view.WhiteListURLs = []string{}
	}
	return view
}

func (s *surface) getProfile(r request) (reply, error) {
	c, err := s.Profiles.Client(r.Context(), r.client)
	if err != nil {
		return reply{}, err
	}
	view := viewProfile(c.Profile)
	if view.AlertAuthHeader != "" && !r.caller.MaySeeSecrets() {
		view.AlertAuthHeader = "…" // says that there is a header without showing it
	}
	return reply{http.StatusOK, view}, nil
}

func (s *surface) putProfile(r request) (reply, error) {
	members, err := r.object()
	if err != nil {
		return reply{}, err
	}
	before, err := s.Profiles.Client(r.Context(), r.client)
	if err != nil && herald.CodeOf(err) != herald.CodeInternal { // internal: no key opens its header, which a PUT may replace
		return reply{}, err
	}
	p, err := readProfile(members, before.Profile)
	if err != nil {
		return reply{}, err
	}
	// A current client of the vendor's does not know the member, and must not take the header
	// away from its webhooks. Null and "" do.
	if _, has := members["alertauthheader"]; !has {
		p, err = s.Profiles.SaveProfileKeepingHeader(r.Context(), r.caller, r.client, p)
	} else {
		err = s.Profiles.SaveProfile(r.Context(), r.caller, r.client, p)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, viewProfile(p)}, nil
}

// readProfile reads a profile, which PUT replaces.
func readProfile(members object, before herald.Profile) (herald.Profile, error) {
	var p herald.Profile
	for _, name := range []string{"name", "redirectUrl"} {
		if !given(members, name) {
			return p, invalid(name, "%s is missing.", name)
		}
	}
	for _, m := range []struct {
		name string
		into *string
	}{
		{"name", &p.Name}, {"redirectUrl", &p.RedirectURL}, {"logoUrl", &p.LogoURL}, {"iconUrl", &p.IconURL}, {"alertAuthHeader", &p.AlertAuthHeader},
	} {
		var err error
		if *m.into, err = text(members, m.name); err != nil {
			return p, err
		}
	}
	urls, err := member[[]string](members, "whiteListUrls", "an array of strings")
	if err != nil {
		return p, err
	}
	if urls != nil {
		p.WhiteListURLs = *urls
	}
	confirm, err := member[bool](members, "confirmCompanyName", "true or false")
	if err != nil {
		return p, err
	}
	p.ConfirmCompanyName = confirm != nil && *confirm
	return p, vendorText(settings.CheckProfile(p, before).First())
}

// given reports whether a member is there and not null.
func given(members object, name string) bool {
	text, ok := members[strings.ToLower(name)]
	return ok && string(text) != "null"
}

// syncSettings has the client's id, which is the member that the vendor's guide reads. The
// settings are always empty, because Herald does not synchronise data.
type syncSettings struct {
	ClientID          uuid.UUID `json:"clientId"`
	OverridesDefaults bool      `json:"overridesDefaults"`
	Settings          []any     `json:"settings"`
}

func (s *surface) getSyncSettings(r request) (reply, error) {
	return reply{http.StatusOK, syncSettings{ClientID: r.client, Settings: []any{}}}, nil
}

// apiKey is a key in an answer (spec section 6.2). Only the answer that made the key has
// its plain text. Roles and the last use are Herald's; the answer has the role only if it differs
// from that of the vendor's keys.
type apiKey struct {
	ID          uuid.UUID   `json:"id"`
	Name        string      `json:"name,omitempty"`
	Role        herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" doc:"Absent: developer."`
	APIKey      string      `json:"apiKey,omitempty" doc:"The key itself, shown once when it is made."`
	CreatedDate time.Time   `json:"createdDate"`
	LastUsed    time.Time   `json:"lastUsedDate,omitzero" doc:"Exact to about a minute; absent: never, or not since Herald keeps it."`
}

type apiKeys struct {
	Results []apiKey `json:"results"`
}

func viewKey(k herald.Key) apiKey {
	view := apiKey{ID: k.ID, Name: k.Name, CreatedDate: k.CreatedAt, LastUsed: k.LastUse}
	if k.Role != herald.Developer {
		view.Role = k.Role
	}
	return view
}

func (s *surface) listKeys(r request) (reply, error) {
	if err := r.caller.MaySeeKeys(); err != nil {
		return reply{}, err
	}
	keys, err := s.Keys.Keys(r.Context(), r.client)
	if err != nil {
		return reply{}, err
	}
	body := apiKeys{Results: make([]apiKey, len(keys))}
	for i, k := range keys {
		body.Results[i] = viewKey(k)
	}
	return reply{http.StatusOK, body}, nil
}

func (s *surface) createKey(r request) (reply, error) {
	members, err := r.optionalObject()
	if err != nil {
		return reply{}, err
	}
	name, err := text(members, "name")
	if err != nil {
		return reply{}, err
	}
	role, err := text(members, "role")
	if err != nil {
		return reply{}, err
	}
	if problems := settings.CheckKey(name, role); len(problems) > 0 {
		if problems[0].Member == "name" { // the vendor's whole text: spec section 6.2
			return reply{}, problems[0]
		}
		return reply{}, vendorText(problems[0])
	}
	if err := r.caller.MayManageKeys(herald.Role(role)); err != nil {
		return reply{}, err
	}
	k, plain, err := s.Keys.CreateKey(r.Context(), r.caller, r.client, name, herald.Role(role))
	if err != nil {
		return reply{}, err
	}
	view := viewKey(k)
	view.APIKey = plain
	return reply{http.StatusCreated, view}, nil
}

func (s *surface) deleteKey(r request) (reply, error) {
	id, err := pathID(r.PathValue("apiKeyId"), "API key")
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, s.Keys.DeleteKey(r.Context(), r.caller, r.client, id)
}
