package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

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
