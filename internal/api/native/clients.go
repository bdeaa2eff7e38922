package native

import (
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// account is a client in an answer to the operator. GET /profile answers the client with
// the rest.
type account struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// newAccount is the answer to createClient.
type newAccount struct {
	ID     uuid.UUID `json:"id"`
	Name   string    `json:"name"`
	APIKey string    `json:"apiKey" doc:"The client's first API key, shown this once."`
}

// newKey is the answer to createClientKey.
type newKey struct {
	ID          uuid.UUID   `json:"id"`
	Name        string      `json:"name,omitempty"`
	Role        herald.Role `json:"role"`
	APIKey      string      `json:"apiKey" doc:"Shown this once."`
	CreatedDate time.Time   `json:"createdDate"`
}

// clientKey is a key in an answer to the operator.
type clientKey struct {
	ID          uuid.UUID   `json:"id"`
	Name        string      `json:"name,omitempty"`
	Role        herald.Role `json:"role" enum:"administrator,developer,analyst"`
	CreatedDate time.Time   `json:"createdDate"`
	LastUsed    time.Time   `json:"lastUsedDate,omitzero" doc:"Exact to about a minute; absent: never, or not since Herald keeps it."`
}

// clientKeyList has no pages: a client has at most herald.MaxKeys.
type clientKeyList struct {
	Results []clientKey `json:"results"`
}

// keyRequest describes the body that makes an API key.
type keyRequest struct {
	_    struct{}    `additionalProperties:"false"`
	Name string      `json:"name,omitempty" minLength:"1" maxLength:"50" doc:"Left out: one is made up."`
	Role herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" default:"developer"`
}

// accountRequest describes the body that renames a client.
type accountRequest struct {
	_    struct{} `additionalProperties:"false"`
	Name string   `json:"name" minLength:"1" maxLength:"200" doc:"The client's name, which its webhooks carry."`
}

// newAccountRequest describes the body that makes a client.
type newAccountRequest struct {
	_    struct{}    `additionalProperties:"false"`
	Name string      `json:"name" minLength:"1" maxLength:"200" doc:"The client's name, which its webhooks carry."`
	Role herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" default:"developer" doc:"What the client's first API key may do."`
}

func accountOf(c herald.Client) account { return account{ID: c.ID, Name: c.Profile.Name} }

func (s *surface) registerClients() {
	tags := []string{"Clients"}
	call(s, huma.Operation{
		OperationID: "createClient", Method: http.MethodPost, Path: "/clients", Tags: tags,
		DefaultStatus: http.StatusCreated,
		Summary:       "Create a client", Description: "Answers with the client's first API key.",
		RequestBody: openapi.RequestOf[newAccountRequest](s.API.OpenAPI()),
	}, withOperatorKey, s.createClient)
	call(s, huma.Operation{
		OperationID: "createClientKey", Method: http.MethodPost, Path: "/clients/{id}/apiKeys", Tags: tags,
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
		Summary: "Make an API key for a client", Description: "For a client that has lost its keys, or needs an administrator's. At most 10; the eleventh is a 409. It needs no body.",
		RequestBody: openapi.OptionalRequestOf[keyRequest](s.API.OpenAPI()),
	}, withOperatorKey, s.createClientKey)
	call(s, huma.Operation{
		OperationID: "listClientKeys", Method: http.MethodGet, Path: "/clients/{id}/apiKeys", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "List a client's API keys", Description: "Oldest first, without the keys themselves.",
	}, withOperatorKey, s.listClientKeys)
	call(s, huma.Operation{
		OperationID: "deleteClientKey", Method: http.MethodDelete, Path: "/clients/{id}/apiKeys/{keyId}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict},
		Summary: "Revoke a client's API key", Description: "At once and for good. The last key cannot be revoked: 409. Make another one first.",
	}, withOperatorKey, s.deleteClientKey)
	call(s, huma.Operation{
		OperationID: "listClients", Method: http.MethodGet, Path: "/clients", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "List the clients", Description: "Newest first. A long search is split: then a page has fewer results, or none, and next all the same.",
		Parameters: append(pageParameters(), openapi.QueryParameter("search", huma.Schema{Type: "string"},
			"A part of the name, in any case, or the id, or at least its first 8 digits. At most 200 characters.")),
	}, withOperatorKey, s.listClients)
	call(s, huma.Operation{
		OperationID: "getClient", Method: http.MethodGet, Path: "/clients/{id}", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "Look up a client",
	}, withOperatorKey, s.getClient)
	call(s, huma.Operation{
		OperationID: "renameClient", Method: http.MethodPut, Path: "/clients/{id}", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "Rename a client",
		RequestBody:   openapi.RequestOf[accountRequest](s.API.OpenAPI()),
	}, withOperatorKey, s.renameClient)
	call(s, huma.Operation{
		OperationID: "deleteClient", Method: http.MethodDelete, Path: "/clients/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent,
		Summary:       "Delete a client",
		Description:   "Its keys are revoked at once and its pending deliveries are cancelled. Its history is deleted after the retention.",
	}, withOperatorKey, s.deleteClient)
}

// readNamed reads a body that makes or renames a client. The body has a name of at most
// herald.MaxClientName characters and, if takesRole, an optional role.
func readNamed(r *http.Request, takesRole bool) (name string, role herald.Role, err error) {
	err = readObject(r, readNameAndRole(&name, &role, herald.MaxClientName, takesRole))
	return name, role, err
}

func readNameAndRole(name *string, role *herald.Role, most int, takesRole bool) func(*cursor, string) error {
	return func(c *cursor, member string) (err error) {
		switch {
		case member == "name":
			*name, err = c.text(1, most)
		case member == "role" && takesRole:
			*role, err = readRole(c)
		case takesRole:
			err = unknown("name and role")
		default:
			err = unknown("name")
		}
		return err
	}
}

func readRole(c *cursor) (herald.Role, error) {
	text, err := c.text(1, herald.MaxClientName)
	if err == nil && text != "" && !slices.Contains(herald.Roles(), herald.Role(text)) {
		err = herald.Invalid("", "%q is not one of %s, %s and %s", short(text), herald.Administrator, herald.Developer, herald.Analyst)
	}
	return herald.Role(text), err
}

var errNoName = nameMember(herald.Invalid("name", "missing; give the client's name"))

func (s *surface) createClient(r *http.Request, caller herald.Caller) (newAccount, error) {
	name, role, err := readNamed(r, true)
	if err == nil && name == "" {
		err = errNoName
	}
	if err != nil {
		return newAccount{}, err
	}
	client, key, err := s.Clients.CreateClient(r.Context(), caller, name, role)
	return newAccount{ID: client.ID, Name: client.Profile.Name, APIKey: key}, err
}

func (s *surface) createClientKey(r *http.Request, caller herald.Caller) (newKey, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return newKey{}, err
	}
	var (
		name string
		role herald.Role
	)
	if err := readOptionalObject(r, readNameAndRole(&name, &role, herald.MaxKeyNameLength, true)); err != nil {
		return newKey{}, err
	}
	k, plain, err := s.Keys.CreateKey(r.Context(), caller, id, name, role)
	return newKey{ID: k.ID, Name: k.Name, Role: k.Role, APIKey: plain, CreatedDate: k.CreatedAt}, err
}

func (s *surface) listClientKeys(r *http.Request, _ herald.Caller) (clientKeyList, error) {
	id, err := pathID(r, "id", "client")
	if err == nil {
		_, err = s.Clients.Client(r.Context(), id)
	}
	if err != nil {
		return clientKeyList{}, err
	}
	keys, err := s.Keys.Keys(r.Context(), id)
	listed := clientKeyList{Results: make([]clientKey, len(keys))}
	for i, k := range keys {
		listed.Results[i] = clientKey{ID: k.ID, Name: k.Name, Role: k.Role, CreatedDate: k.CreatedAt, LastUsed: k.LastUse}
	}
	return listed, err
}

func (s *surface) deleteClientKey(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return openapi.NoBody{}, err
	}
	key, err := pathID(r, "keyId", "API key")
	if err != nil {
		return openapi.NoBody{}, err
	}
	return openapi.NoBody{}, s.Keys.DeleteKey(r.Context(), caller, id, key)
}

func (s *surface) listClients(r *http.Request, _ herald.Caller) (page[account], error) {
	p := parametersOf(r)
	limit, f := p.limit(), herald.ClientFilter{Search: p.text("search"), After: p.id("after")}
	if p.err != nil {
		return page[account]{}, p.err
	}
	if err := herald.CheckClientSearch(f.Search); err != nil {
		return page[account]{}, nameMember(err)
	}
	f.Limit = limit + 1
	clients, next, err := s.Clients.Clients(r.Context(), f)
	if err != nil {
		return page[account]{}, err
	}
	return pageOf(clients, limit, next, func(c herald.Client) uuid.UUID { return c.ID }, accountOf), nil
}

func (s *surface) getClient(r *http.Request, _ herald.Caller) (account, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return account{}, err
	}
	client, err := s.Clients.Client(r.Context(), id)
	return accountOf(client), err
}

func (s *surface) renameClient(r *http.Request, caller herald.Caller) (account, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return account{}, err
	}
	name, _, err := readNamed(r, false)
	if err == nil && name == "" {
		err = errNoName
	}
	if err != nil {
		return account{}, err
	}
	return account{ID: id, Name: name}, s.Clients.RenameClient(r.Context(), caller, id, name)
}

func (s *surface) deleteClient(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return openapi.NoBody{}, err
	}
	return openapi.NoBody{}, s.Clients.DeleteClient(r.Context(), caller, id)
}
