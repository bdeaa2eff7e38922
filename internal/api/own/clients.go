package own

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
)

// maxClientName bounds a client's name, in characters.
const maxClientName = 200

// account is a client as the operator sees it. The rest of it is the client's
// own, see GET /profile.
type account struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// newAccount is a client just made.
type newAccount struct {
	ID     uuid.UUID `json:"id"`
	Name   string    `json:"name"`
	APIKey string    `json:"apiKey" doc:"The client's first API key, shown this once."`
}

// accountRequest describes what makes or renames a client.
type accountRequest struct {
	_    struct{} `additionalProperties:"false"`
	Name string   `json:"name" minLength:"1" maxLength:"200" doc:"What the client is called, in its webhooks too."`
}

func accountOf(c herald.Client) account { return account{ID: c.ID, Name: c.Profile.Name} }

func (s *surface) registerClients() {
	tags := []string{"Clients"}
	call(s, huma.Operation{
		OperationID: "createClient", Method: http.MethodPost, Path: "/clients", Tags: tags,
		DefaultStatus: http.StatusCreated,
		Summary:       "Create a client", Description: "Answers with the client's first API key.",
		RequestBody: requestOf[accountRequest](s.huma.OpenAPI()),
	}, withOperatorKey, s.createClient)
	call(s, huma.Operation{
		OperationID: "listClients", Method: http.MethodGet, Path: "/clients", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "List the clients", Description: "Newest first.",
		Parameters: pageParameters(),
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
		RequestBody:   requestOf[accountRequest](s.huma.OpenAPI()),
	}, withOperatorKey, s.renameClient)
	call(s, huma.Operation{
		OperationID: "deleteClient", Method: http.MethodDelete, Path: "/clients/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent,
		Summary:       "Delete a client",
		Description:   "Its keys are revoked at once and what is pending is cancelled. Its history goes when its time is up.",
	}, withOperatorKey, s.deleteClient)
}

// readName reads the body of creating and renaming.
func readName(r *http.Request) (name string, err error) {
	err = readObject(r, func(c *cursor, member string) (err error) {
		if member != "name" {
			return unknown("name")
		}
		name, err = c.text(1, maxClientName)
		return err
	})
	if err == nil && name == "" {
		err = told(herald.Invalid("name", "missing; say what the client is called"))
	}
	return name, err
}

func (s *surface) createClient(r *http.Request, _ herald.Caller) (newAccount, error) {
	name, err := readName(r)
	if err != nil {
		return newAccount{}, err
	}
	client, key, err := s.Clients.CreateClient(r.Context(), name)
	return newAccount{ID: client.ID, Name: client.Profile.Name, APIKey: key}, err
}

func (s *surface) listClients(r *http.Request, _ herald.Caller) (page[account], error) {
	p := parametersOf(r)
	limit, after := p.limit(), p.id("after")
	if p.err != nil {
		return page[account]{}, p.err
	}
	clients, err := s.Clients.Clients(r.Context(), after, limit+1)
	if err != nil {
		return page[account]{}, err
	}
	return pageOf(clients, limit, func(c herald.Client) uuid.UUID { return c.ID }, accountOf), nil
}

func (s *surface) getClient(r *http.Request, _ herald.Caller) (account, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return account{}, err
	}
	client, err := s.Clients.Client(r.Context(), id)
	return accountOf(client), err
}

func (s *surface) renameClient(r *http.Request, _ herald.Caller) (account, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return account{}, err
	}
	name, err := readName(r)
	if err != nil {
		return account{}, err
	}
	return account{ID: id, Name: name}, s.Clients.RenameClient(r.Context(), id, name)
}

func (s *surface) deleteClient(r *http.Request, _ herald.Caller) (noBody, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return noBody{}, err
	}
	return noBody{}, s.Clients.DeleteClient(r.Context(), id)
}
