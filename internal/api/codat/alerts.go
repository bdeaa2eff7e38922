package codat

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// alert is an alert in an answer (spec section 7.1).
type alert struct {
	ID               uuid.UUID       `json:"id"`
	AlertID          uuid.UUID       `json:"alertId" doc:"The same as id, and as AlertId in the delivered body."`
	RuleID           uuid.UUID       `json:"ruleId"`
	RuleType         string          `json:"ruleType"`
	CompanyID        uuid.UUID       `json:"companyId,omitzero"`
	CompanyName      *string         `json:"companyName"` // null: bodies have not had it since 2021, so it is not stored
	ClientID         uuid.UUID       `json:"clientId"`
	ClientName       string          `json:"clientName"`
	DataConnectionID *uuid.UUID      `json:"dataConnectionId" nullable:"true"`
	Message          string          `json:"message"`
	Data             json.RawMessage `json:"data" nullable:"true" doc:"The Data of the delivered body; null where that has none."`
	RaisedOnUTC      time.Time       `json:"raisedOnUtc"`
}

func viewAlert(a herald.Alert) alert {
	view := alert{
		ID: a.ID, AlertID: a.ID, RuleID: a.RuleID, RuleType: a.Type, CompanyID: a.CompanyID, ClientID: a.ClientID,
		ClientName: a.ClientName, Message: a.Message, Data: a.Data, RaisedOnUTC: a.RaisedAt(),
	}
	if a.ConnectionID != uuid.Nil {
		view.DataConnectionID = &a.ConnectionID
	}
	return view
}

func (s *surface) listAlerts(r request) (reply, error) {
	return s.alertsOf(r, uuid.Nil)
}

func (s *surface) listRuleAlerts(r request, ruleID string) (reply, error) {
	id, err := pathID(ruleID, "rule")
	if err != nil {
		return reply{}, err
	}
	// The list of all alerts still has a deleted rule's alerts; this list
	// is a 404 (spec section 5.10, item 2).
	if _, err := s.Rules.Rule(r.Context(), r.client, id); err != nil {
		return reply{}, err
	}
	return s.alertsOf(r, id)
}

// alertsOf lists the alerts of a rule; uuid.Nil means all rules.
func (s *surface) alertsOf(r request, rule uuid.UUID) (reply, error) {
	l, err := readListing(r, query.Alerts())
	if err != nil {
		return reply{}, err
	}
	alerts, total, err := s.Alerts.Alerts(r.Context(), r.client, rule, l.company, l.List)
	if err != nil {
		return reply{}, err
	}
	return page(l, alerts, total, viewAlert), nil
}

func (s *surface) getAlert(r request, alertID string) (reply, error) {
	id, err := pathID(alertID, "alert")
	if err != nil {
		return reply{}, err
	}
	found, err := s.Alerts.Alert(r.Context(), r.client, id)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, viewAlert(found)}, nil
}
