package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Rule says which events raise an alert, and where the alert is sent.
type Rule struct {
	ID   uuid.UUID `json:"id,omitzero"`
	Type string    `json:"type"`
	// CompanyID is the company that the rule is about; uuid.Nil means all.
	CompanyID uuid.UUID `json:"companyId,omitzero"`
	Notifiers Notifiers `json:"notifiers"`
}

// Notifiers are the receivers of a rule's alerts.
type Notifiers struct {
	Emails  []string `json:"emails"`
	Webhook string   `json:"webhook,omitempty"`
}

// Alert is an event raised against one rule.
type Alert struct {
	ID               uuid.UUID       `json:"id"`
	RuleID           uuid.UUID       `json:"ruleId"`
	RuleType         string          `json:"ruleType"`
	CompanyID        uuid.UUID       `json:"companyId,omitzero"`
	ClientID         uuid.UUID       `json:"clientId"`
	ClientName       string          `json:"clientName"`
	DataConnectionID uuid.UUID       `json:"dataConnectionId,omitzero"`
	Message          string          `json:"message"`
	Data             json.RawMessage `json:"data,omitempty"`
	RaisedOnUTC      time.Time       `json:"raisedOnUtc"`
}

// ListOptions select a page of a numbered list; the zero value is the first page of
// 100 results.
type ListOptions struct {
	Page     int
	PageSize int
	// Query filters the list, as in "type=Data sync completed".
	Query string
	// OrderBy is a member's name, with - in front for descending.
	OrderBy string
	Company uuid.UUID
}

func (o ListOptions) values() url.Values {
	v := url.Values{}
	for name, n := range map[string]int{"page": o.Page, "pageSize": o.PageSize} {
		if n > 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	for name, text := range map[string]string{"query": o.Query, "orderBy": o.OrderBy} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if o.Company != uuid.Nil {
		v.Set("companyId", o.Company.String())
	}
	return v
}

// List is a page of a numbered list.
type List[T any] struct {
	Results      []T `json:"results"`
	PageNumber   int `json:"pageNumber"`
	PageSize     int `json:"pageSize"`
	TotalResults int `json:"totalResults"`
}

// Rules lists rules, oldest first.
func (c *API) Rules(ctx context.Context, o ListOptions) (List[Rule], error) {
	return get[List[Rule]](ctx, c, "/rules", o.values())
}

// AllRules iterates over all pages of Rules. It ends with the first error.
func (c *API) AllRules(ctx context.Context, o ListOptions) iter.Seq2[Rule, error] {
	return all(ctx, o, c.Rules)
}

func all[T any](ctx context.Context, o ListOptions, page func(context.Context, ListOptions) (List[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for o.Page = max(o.Page, 1); ; o.Page++ {
			l, err := page(ctx, o)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range l.Results {
				if !yield(item, nil) {
					return
				}
			}
			if len(l.Results) == 0 || l.PageNumber*l.PageSize >= l.TotalResults {
				return
			}
		}
	}
}

// Rule returns a rule.
func (c *API) Rule(ctx context.Context, id uuid.UUID) (Rule, error) {
	return get[Rule](ctx, c, "/rules/"+id.String(), nil)
}

// CreateRule makes a rule and returns it with its id. It is not retried.
func (c *API) CreateRule(ctx context.Context, r Rule) (Rule, error) {
	var made Rule
	err := c.do(ctx, call{method: http.MethodPost, path: "/rules", body: r, into: &made})
	return made, err
}

// PreviewRule says which events of the last seven days a rule would have met. It makes no rule.
func (c *API) PreviewRule(ctx context.Context, r Rule) (herald.Preview, error) {
	var preview herald.Preview
	err := c.do(ctx, call{method: http.MethodPost, path: "/rules/preview", body: r, into: &preview, repeatable: true})
	return preview, err
}

// TestOptions are what a test sends. Their zero values mean the event type's example.
type TestOptions struct {
	Data             json.RawMessage `json:"data,omitempty"`
	CompanyID        uuid.UUID       `json:"companyId,omitzero"`
	DataConnectionID uuid.UUID       `json:"dataConnectionId,omitzero"`
}

// TestRule sends a test to a rule's receivers, as real deliveries that are marked as a test. It is not
// retried.
func (c *API) TestRule(ctx context.Context, id uuid.UUID, o TestOptions) (herald.Receipt, error) {
	var r herald.Receipt
	err := c.do(ctx, call{method: http.MethodPost, path: "/rules/" + id.String() + "/test", body: o, into: &r})
	return r, err
}

// UpdateRule replaces a rule's type, company and notifiers.
func (c *API) UpdateRule(ctx context.Context, r Rule) (Rule, error) {
	var updated Rule
	err := c.do(ctx, call{method: http.MethodPut, path: "/rules/" + r.ID.String(), body: r, into: &updated, repeatable: true})
	return updated, err
}

// DeleteRule deletes a rule. Alerts that it raised are still delivered. It is not retried.
func (c *API) DeleteRule(ctx context.Context, id uuid.UUID) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/rules/" + id.String()})
}

// SetRuleAuthorization turns the client's Authorization header on or off for one
// rule.
func (c *API) SetRuleAuthorization(ctx context.Context, id uuid.UUID, send bool) error {
	body := map[string]string{"authorization": "none"}
	if send {
		body["authorization"] = "inherit"
	}
	return c.do(ctx, call{method: http.MethodPut, path: "/rules/" + id.String() + "/security", body: body, repeatable: true})
}

// Alerts lists alerts, newest first.
func (c *API) Alerts(ctx context.Context, o ListOptions) (List[Alert], error) {
	return get[List[Alert]](ctx, c, "/rules/alerts", o.values())
}

// RuleAlerts lists the alerts of one rule, newest first.
func (c *API) RuleAlerts(ctx context.Context, rule uuid.UUID, o ListOptions) (List[Alert], error) {
	return get[List[Alert]](ctx, c, "/rules/"+rule.String()+"/alerts", o.values())
}

// Alert returns an alert.
func (c *API) Alert(ctx context.Context, id uuid.UUID) (Alert, error) {
	return get[Alert](ctx, c, "/rules/alerts/"+id.String(), nil)
}
