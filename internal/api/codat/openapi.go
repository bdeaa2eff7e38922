package native

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
)

// The types in this file only describe what internal/api/codat reads and
// writes; the numbers are sections of the specification.

// rule is spec section 5.1.
type rule struct {
	ID        uuid.UUID `json:"id"`
	Type      string    `json:"type" doc:"The event type, in the spelling that it was posted in."`
	CompanyID uuid.UUID `json:"companyId,omitzero" doc:"Absent on a rule for all companies."`
	Notifiers notifiers `json:"notifiers"`
}

type ruleRequest struct {
	ID        uuid.UUID `json:"id,omitzero" doc:"Ignored when a rule is made; on a change, the id in the path."`
	Type      string    `json:"type" minLength:"1" doc:"The event type, in any accepted spelling." example:"Data sync completed"`
	CompanyID uuid.UUID `json:"companyId,omitzero" doc:"Left out, null, empty or the GUID of zeros: all companies."`
	Notifiers notifiers `json:"notifiers,omitzero"`
}

type notifiers struct {
	Emails  []string `json:"emails,omitempty" doc:"Mailboxes; an element may hold several, separated by commas."`
	Webhook string   `json:"webhook,omitempty" format:"uri" doc:"An absolute http or https address."`
}

// alert is spec section 7.1.
type alert struct {
	ID           uuid.UUID      `json:"id"`
	AlertID      uuid.UUID      `json:"alertId" doc:"The same as id, and as AlertId in the delivered body."`
	RuleID       uuid.UUID      `json:"ruleId"`
	RuleType     string         `json:"ruleType"`
	CompanyID    uuid.UUID      `json:"companyId,omitzero"`
	CompanyName  *string        `json:"companyName"`
	ClientID     uuid.UUID      `json:"clientId"`
	ClientName   *string        `json:"clientName"`
	ConnectionID *string        `json:"dataConnectionId" format:"uuid"`
	Message      *string        `json:"message"`
	Data         map[string]any `json:"data,omitempty"`
	RaisedAt     time.Time      `json:"raisedOnUtc"`
}

// profile is spec section 6.1.
type profile struct {
	Name               string   `json:"name"`
	LogoURL            string   `json:"logoUrl,omitempty" format:"uri"`
	IconURL            string   `json:"iconUrl,omitempty" format:"uri"`
	RedirectURL        string   `json:"redirectUrl" doc:"A URI template."`
	WhiteListURLs      []string `json:"whiteListUrls,omitempty"`
	AlertAuthHeader    *string  `json:"alertAuthHeader,omitempty" nullable:"true" doc:"Sent verbatim as the Authorization header of the client's webhooks; empty or null sends none."`
	ConfirmCompanyName bool     `json:"confirmCompanyName,omitempty"`
}

// syncSettings is the last of spec section 6.1.
type syncSettings struct {
	ClientID          uuid.UUID        `json:"clientId"`
	OverridesDefaults bool             `json:"overridesDefaults"`
	Settings          []map[string]any `json:"settings"`
}

// apiKey is spec section 6.2.
type apiKey struct {
	ID        uuid.UUID   `json:"id"`
	Name      *string     `json:"name,omitempty" nullable:"true"`
	Role      herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" doc:"Absent: developer."`
	APIKey    string      `json:"apiKey,omitempty" doc:"The key itself, shown once when it is made."`
	CreatedAt time.Time   `json:"createdDate"`
}

type apiKeyRequest struct {
	Name string      `json:"name,omitempty" maxLength:"50"`
	Role herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" default:"developer" doc:"Only an administrator's key makes another."`
}

type apiKeys struct {
	Results []apiKey `json:"results"`
}

// numberedPage is spec section 4.2.
type numberedPage[T any] struct {
	Results      []T       `json:"results"`
	PageNumber   int       `json:"pageNumber"`
	PageSize     int       `json:"pageSize"`
	TotalResults int       `json:"totalResults"`
	Links        pageLinks `json:"_links"`
}

type pageLinks struct {
	Current  link `json:"current"`
	Self     link `json:"self"`
	Next     link `json:"next,omitzero"`
	Previous link `json:"previous,omitzero"`
}

type link struct {
	Href string `json:"href"`
}

// describeCodat adds the calls of internal/api/codat to the document.
func describeCodat(doc *huma.OpenAPI) {
	describeRules(doc)
	describeAlerts(doc)
	describeProfile(doc)
	describeKeys(doc)
}

// numberedPageParameters describe spec section 4.1.
func numberedPageParameters() []*huma.Param {
	least, most := float64(1), float64(5000)
	text := huma.Schema{Type: "string"}
	return []*huma.Param{
		queryParameter("page", huma.Schema{Type: "integer", Minimum: &least, Default: 1}, "The page, counting from 1."),
		queryParameter("pageSize", huma.Schema{Type: "integer", Minimum: &least, Maximum: &most, Default: 100}, "How many results a page has."),
		queryParameter("query", text, "Conditions on the results' members, such as type=Data sync completed&&companyId!=…; less than 2048 characters."),
		queryParameter("orderBy", text, "A member to order by; - before it turns the order round."),
	}
}

func companyParameter() *huma.Param {
	return queryParameter("companyId", huma.Schema{Type: "string", Format: "uuid"}, "Only those bound to this company.")
}

// describeCall describes one call of the Codat surface that answers with Out.
func describeCall[Out any](doc *huma.OpenAPI, op huma.Operation) {
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	describe[Out](doc, &op, withClientKey)
}

func describeRules(doc *huma.OpenAPI) {
	tags := []string{"Rules"}
	describeCall[numberedPage[rule]](doc, huma.Operation{OperationID: "listRules", Method: http.MethodGet, Path: "/rules", Tags: tags,
		Summary: "List the client's rules", Parameters: append(numberedPageParameters(), companyParameter())})
	describeCall[rule](doc, huma.Operation{OperationID: "createRule", Method: http.MethodPost, Path: "/rules", Tags: tags,
		Summary: "Make a rule", RequestBody: requestOf[ruleRequest](doc)})
	describeCall[rule](doc, huma.Operation{OperationID: "getRule", Method: http.MethodGet, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Look up a rule"})
	describeCall[rule](doc, huma.Operation{OperationID: "updateRule", Method: http.MethodPut, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Replace a rule", Description: "A company left out makes it a rule for all companies.", RequestBody: requestOf[ruleRequest](doc)})
	describeCall[noBody](doc, huma.Operation{OperationID: "deleteRule", Method: http.MethodDelete, Path: "/rules/{ruleId}", Tags: tags,
		Summary: "Delete a rule", Description: "Its alerts stay."})
}

func describeAlerts(doc *huma.OpenAPI) {
	tags := []string{"Alerts"}
	describeCall[numberedPage[alert]](doc, huma.Operation{OperationID: "listAlerts", Method: http.MethodGet, Path: "/rules/alerts", Tags: tags,
		Summary: "List the client's alerts", Description: "Newest first.", Parameters: append(numberedPageParameters(), companyParameter())})
	describeCall[alert](doc, huma.Operation{OperationID: "getAlert", Method: http.MethodGet, Path: "/rules/alerts/{alertId}", Tags: tags,
		Summary: "Look up an alert"})
	describeCall[numberedPage[alert]](doc, huma.Operation{OperationID: "listRuleAlerts", Method: http.MethodGet, Path: "/rules/{ruleId}/alerts", Tags: tags,
		Summary: "List a rule's alerts", Description: "Newest first.", Parameters: numberedPageParameters()})
}

func describeProfile(doc *huma.OpenAPI) {
	tags := []string{"Profile"}
	describeCall[profile](doc, huma.Operation{OperationID: "getProfile", Method: http.MethodGet, Path: "/profile", Tags: tags,
		Summary: "Look up the client's profile"})
	describeCall[profile](doc, huma.Operation{OperationID: "updateProfile", Method: http.MethodPut, Path: "/profile", Tags: tags,
		Summary: "Replace the client's profile", Description: "What is left out is cleared.", RequestBody: requestOf[profile](doc)})
	describeCall[syncSettings](doc, huma.Operation{OperationID: "getSyncSettings", Method: http.MethodGet, Path: "/profile/syncSettings", Tags: tags,
		Summary: "Learn the client's id"})
}

func describeKeys(doc *huma.OpenAPI) {
	tags := []string{"API keys"}
	describeCall[apiKeys](doc, huma.Operation{OperationID: "listKeys", Method: http.MethodGet, Path: "/apiKeys", Tags: tags,
		Summary: "List the client's API keys"})
	describeCall[apiKey](doc, huma.Operation{OperationID: "createKey", Method: http.MethodPost, Path: "/apiKeys", Tags: tags,
		Summary: "Make an API key", Description: "At most 10; the eleventh is a 409.",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
		RequestBody: &huma.RequestBody{Content: jsonOf(schemaOf[apiKeyRequest](doc))}})
	describeCall[noBody](doc, huma.Operation{OperationID: "deleteKey", Method: http.MethodDelete, Path: "/apiKeys/{apiKeyId}", Tags: tags,
		Summary: "Revoke an API key", Description: "At once and for good. The last key is kept: 409.",
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict}})
}
