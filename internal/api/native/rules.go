package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// The values of ruleSecurity.Authorization.
const (
	inherit = "inherit" // the client's alertAuthHeader
	without = "none"
)

// ruleSecurity says which Authorization header a rule's webhook gets (spec section
// 6.1.6).
type ruleSecurity struct {
	_             struct{} `additionalProperties:"false"`
	Authorization string   `json:"authorization" enum:"inherit,none" doc:"inherit sends the alertAuthHeader of the client's profile, none sends no Authorization header."`
}

func (s *surface) registerRules() {
	call(s, huma.Operation{
		OperationID: "setRuleSecurity", Method: http.MethodPut, Path: "/rules/{ruleId}/security", Tags: []string{"Rules"},
		DefaultStatus: http.StatusOK,
		Summary:       "Switch a rule's Authorization header on or off",
		RequestBody:   openapi.RequestOf[ruleSecurity](s.API.OpenAPI()),
	}, withClientKey, s.setRuleSecurity)
	call(s, huma.Operation{
		OperationID: "testRule", Method: http.MethodPost, Path: "/rules/{ruleId}/test", Tags: []string{"Rules"},
		DefaultStatus: http.StatusAccepted,
		Errors:        []int{http.StatusConflict},
		Summary:       "Send a test to a rule's receivers",
		Description: "Publishes an event of the rule's type that meets this rule alone. Its deliveries are made and recorded as all others. They have test: true; a webhook has the header Herald-Test, and the message begins with \"Test: \". " +
			"A rule without a receiver is a 409. It needs no body: then the data is the type's example.",
		RequestBody: openapi.OptionalRequestOf[ruleTest](s.API.OpenAPI()),
	}, withClientKey, s.testRule)
}

func (s *surface) setRuleSecurity(r *http.Request, caller herald.Caller) (ruleSecurity, error) {
	rule, err := pathID(r, "ruleId", "rule")
	if err != nil {
		return ruleSecurity{}, err
	}
	var security ruleSecurity
	err = readObject(r, func(c *cursor, member string) (err error) {
		if member != "authorization" {
			return unknown("authorization")
		}
		security.Authorization, err = c.text(1, maxTypeName)
		return err
	})
	if err != nil {
		return ruleSecurity{}, err
	}
	if a := security.Authorization; a != inherit && a != without {
		return ruleSecurity{}, nameMember(herald.Invalid("authorization", "%q; want %s or %s", short(a), inherit, without))
	}
	return security, s.Rules.SetRuleAuthorization(r.Context(), caller, caller.Key.ClientID, rule, security.Authorization == inherit)
}

// ruleTest is what a test sends.
type ruleTest struct {
	_            struct{}       `additionalProperties:"false"`
	Data         map[string]any `json:"data,omitempty" doc:"What the receivers get as Data; left out, the type's example."`
	CompanyID    uuid.UUID      `json:"companyId,omitzero" doc:"The company that the test is about; left out, the rule's, or an example."`
	ConnectionID uuid.UUID      `json:"dataConnectionId,omitzero" doc:"The data connection concerned; left out, an example."`
}

func (s *surface) testRule(r *http.Request, caller herald.Caller) (herald.Receipt, error) {
	rule, err := pathID(r, "ruleId", "rule")
	if err != nil {
		return herald.Receipt{}, err
	}
	p := herald.Publication{TestOf: rule, Event: herald.Event{ClientID: caller.Key.ClientID}}
	err = readOptionalObject(r, func(c *cursor, member string) (err error) {
		switch member {
		case "data":
			p.Data, err = c.compact()
		case "companyId":
			p.CompanyID, err = c.id()
		case "dataConnectionId":
			p.ConnectionID, err = c.id()
		default:
			err = unknown("data, companyId and dataConnectionId")
		}
		return err
	})
	if err == nil && rule == uuid.Nil { // TestOf would mean no test
		err = herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", rule)
	}
	if err != nil {
		return herald.Receipt{}, err
	}
	receipts, err := s.Publisher.Publish(r.Context(), caller, []herald.Publication{p})
	if err != nil {
		return herald.Receipt{}, ofItem(err, false)
	}
	return receipts[0], nil
}
