package codat

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
	"herald/internal/query"
)

// The types in this file describe the bodies of requests. Other files read those bodies
// member by member. The types of the answers describe the answers.

// ruleRequest describes the body of spec section 5.6.
type ruleRequest struct {
	ID        uuid.UUID       `json:"id,omitzero" doc:"Ignored when a rule is made; on a change, the id in the path."`
	Type      string          `json:"type" minLength:"1" maxLength:"200" doc:"The event type, in any accepted spelling." example:"Data sync completed"`
	CompanyID uuid.UUID       `json:"companyId,omitzero" doc:"Left out, null, empty or the GUID of zeros: all companies."`
	Notifiers notifierRequest `json:"notifiers,omitzero"`
}

type notifierRequest struct {
	Emails  []string `json:"emails,omitempty" maxItems:"100" doc:"Mailboxes; an element may hold several, separated by commas."`
	Webhook string   `json:"webhook,omitempty" format:"uri" doc:"An absolute http or https address."`
}

// profileRequest describes the body of spec section 6.1.
type profileRequest struct {
	Name               string   `json:"name" minLength:"1" maxLength:"2048"`
	LogoURL            string   `json:"logoUrl,omitempty" format:"uri" maxLength:"2048"`
	IconURL            string   `json:"iconUrl,omitempty" format:"uri" maxLength:"2048"`
	RedirectURL        string   `json:"redirectUrl" maxLength:"2048" doc:"A URI template; empty: none."`
	WhiteListURLs      []string `json:"whiteListUrls,omitempty" maxItems:"100"`
	AlertAuthHeader    string   `json:"alertAuthHeader,omitempty" maxLength:"4096" doc:"Sent verbatim as the Authorization header of the client's webhooks. Left out: it stays as it is. Empty or null: none is sent."`
	ConfirmCompanyName bool     `json:"confirmCompanyName,omitempty"`
}

// apiKeyRequest describes the body of spec section 6.2.
type apiKeyRequest struct {
	Name string      `json:"name,omitempty" maxLength:"50" doc:"Left out, null or empty: one is made up."`
	Role herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" default:"developer" doc:"Only an administrator's key makes another."`
}

// Describe adds the surface's calls to an OpenAPI document.
func Describe(doc *huma.OpenAPI) {
	describeRules(doc)
	describeAlerts(doc)
	describeProfile(doc)
	describeKeys(doc)
}

// pageParameters returns the parameters of spec section 4.1.
func pageParameters() []*huma.Param {
	least, mostPages, most := float64(1), float64(query.MaxPage), float64(query.MaxPageSize)
	text, longest := huma.Schema{Type: "string"}, 2047
	conditions := huma.Schema{Type: "string", MaxLength: &longest}
	return []*huma.Param{
		openapi.QueryParameter("page", huma.Schema{Type: "integer", Minimum: &least, Maximum: &mostPages, Default: 1}, "The page, counting from 1."),
		openapi.QueryParameter("pageSize", huma.Schema{Type: "integer", Minimum: &least, Maximum: &most, Default: query.DefaultPageSize}, "How many results a page has."),
		openapi.QueryParameter("query", conditions, "Conditions on the results' members, such as type=Data sync completed&&companyId!=…; less than 2048 characters."),
		openapi.QueryParameter("orderBy", text, "A member to order by; - before it turns the order round."),
	}
}

func companyParameter() *huma.Param {
	return openapi.QueryParameter("companyId", huma.Schema{Type: "string", Format: "uuid"}, "Only those bound to this company.")
}

// describeCall describes one call of the Codat surface that answers with Out.
func describeCall[Out any](doc *huma.OpenAPI, op huma.Operation) {
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	needs := "Needs a client's API key."
	if op.Method == http.MethodGet {
		needs = "Needs a client's API key, or the operator's with client."
		op.Parameters = append(op.Parameters, openapi.ClientParameter())
	}
	op.Errors = append(op.Errors, http.StatusNotFound) // for another client, see about
	openapi.Describe[Out](doc, &op, openapi.Caller{Needs: needs, Limited: true})
}

func describeRules(doc *huma.OpenAPI) {
	tags := []string{"Rules"}
	describeCall[envelope[rule]](doc, huma.Operation{OperationID: "listRules", Method: http.MethodGet, Path: "/rules", Tags: tags,
		Summary: "List the client's rules", Parameters: append(pageParameters(), companyParameter())})
	describeCall[rule](doc, huma.Operation{OperationID: "createRule", Method: http.MethodPost, Path: "/rules", Tags: tags,
		Summary: "Make a rule", Description: "A client has a limit of rules; beyond it is a 409.", Errors: []int{http.StatusConflict}, RequestBody: openapi.RequestOf[ruleRequest](doc)})
	describeCall[herald.Preview](doc, huma.Operation{OperationID: "previewRule", Method: http.MethodPost, Path: "/rules/preview", Tags: tags,
		Summary:     "Say which events a rule would have met",
		Description: "Takes what making a rule takes, with the same checks, and stores nothing. It examines the newest 10,000 events of the last seven days.",
		RequestBody: openapi.RequestOf[ruleRequest](doc)})
	describeCall[rule](doc, huma.Operation{OperationID: "getRule", Method: http.MethodGet, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Look up a rule"})
	describeCall[rule](doc, huma.Operation{OperationID: "updateRule", Method: http.MethodPut, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Replace a rule", Description: "Without a company it becomes a rule for all companies.", Errors: []int{http.StatusConflict}, RequestBody: openapi.RequestOf[ruleRequest](doc)})
	describeCall[openapi.NoBody](doc, huma.Operation{OperationID: "deleteRule", Method: http.MethodDelete, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Delete a rule", Description: "Its alerts stay."})
}

func describeAlerts(doc *huma.OpenAPI) {
	tags := []string{"Alerts"}
	describeCall[envelope[alert]](doc, huma.Operation{OperationID: "listAlerts", Method: http.MethodGet, Path: "/rules/alerts", Tags: tags,
		Summary: "List the client's alerts", Description: "Newest first.", Parameters: append(pageParameters(), companyParameter())})
	describeCall[alert](doc, huma.Operation{OperationID: "getAlert", Method: http.MethodGet, Path: "/rules/alerts/{alertId}", Tags: tags,
		Summary: "Look up an alert"})
	describeCall[envelope[alert]](doc, huma.Operation{OperationID: "listRuleAlerts", Method: http.MethodGet, Path: "/rules/{ruleId}/alerts", Tags: tags,
		Summary: "List a rule's alerts", Description: "Newest first.", Parameters: pageParameters()})
}

func describeProfile(doc *huma.OpenAPI) {
	tags := []string{"Profile"}
	describeCall[profile](doc, huma.Operation{OperationID: "getProfile", Method: http.MethodGet, Path: "/profile", Tags: tags,
		Summary: "Look up the client's profile"})
	describeCall[profile](doc, huma.Operation{OperationID: "updateProfile", Method: http.MethodPut, Path: "/profile", Tags: tags,
		Summary: "Replace the client's profile", Description: "A member that is left out is cleared, except alertAuthHeader, which stays as it is.", RequestBody: openapi.RequestOf[profileRequest](doc)})
	describeCall[syncSettings](doc, huma.Operation{OperationID: "getSyncSettings", Method: http.MethodGet, Path: "/profile/syncSettings", Tags: tags,
		Summary: "Learn the client's id"})
}

func describeKeys(doc *huma.OpenAPI) {
	tags := []string{"API keys"}
	describeCall[apiKeys](doc, huma.Operation{OperationID: "listKeys", Method: http.MethodGet, Path: "/apiKeys", Tags: tags,
		Summary: "List the client's API keys"})
	describeCall[apiKey](doc, huma.Operation{OperationID: "createKey", Method: http.MethodPost, Path: "/apiKeys", Tags: tags,
		Summary: "Make an API key", Description: "At most 10; the eleventh is a 409. It needs no body.",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
		RequestBody: openapi.OptionalRequestOf[apiKeyRequest](doc)})
	describeCall[openapi.NoBody](doc, huma.Operation{OperationID: "deleteKey", Method: http.MethodDelete, Path: "/apiKeys/{apiKeyId}", Tags: tags,
		Summary: "Revoke an API key", Description: "At once and for good. The last key cannot be revoked: 409.",
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict}})
}
