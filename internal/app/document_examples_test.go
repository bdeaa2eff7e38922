package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/client"
)

// examples are the right input of each call.
type examples struct {
	*walker
	ids     map[string]string // by path parameter, or by call and path parameter
	bodies  map[string]string // by call
	queries map[string]string
}

// path is a call's path, about things that exist.
func (e *examples) path(o operation) string {
	return pathParameter.ReplaceAllStringFunc(o.path, func(parameter string) string {
		name := strings.Trim(parameter, "{}")
		for _, key := range []string{o.id + " " + name, o.path + " " + name, name} {
			if id, ok := e.ids[key]; ok {
				return url.PathEscape(id)
			}
		}
		e.t.Fatalf("%s: give its %s in examples", o.id, name)
		return ""
	})
}

func (w *walker) examples() *examples {
	t := w.t
	w.stop() // SQLite has one writer
	w.sql(`INSERT INTO unsubscribed (client_id, address, at) SELECT id, 'a@acme.example', 1777799777000000 FROM clients`)
	w.start()
	hook := nobodyListens
	busy := newReceiver(t, func(_ int, rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(503)
	})
	if _, err := w.CreateRule(t.Context(), client.Rule{Type: "Sync Started", Notifiers: client.Notifiers{Webhook: busy.URL}}); err != nil {
		t.Fatal(err)
	}
	started := client.Event{Type: "Sync Started", CompanyID: company, Data: json.RawMessage(`{"syncId":"s","syncType":"Expense"}`)}
	pending, waits := w.publish(started), w.publish(started)
	eventually(t, "a delivery waits for its retry", func() bool {
		d, err := w.Delivery(t.Context(), waits.AlertIDs[0])
		return err == nil && d.AttemptCount == 1
	})
	rule := w.rule(hook, uuid.Nil)
	spare := w.rule(hook, uuid.Nil)
	for _, kind := range []string{"Rate Limit Reached", "New company synchronised", "Data sync completed"} {
		if _, err := w.CreateRule(t.Context(), client.Rule{Type: kind, Notifiers: client.Notifiers{Webhook: hook, Emails: []string{"a@acme.example"}}}); err != nil {
			t.Fatal(err)
		}
	}
	company := company.String()
	receipt := w.publish(event())
	for _, body := range []string{
		`{"type":"Rate Limit Reached","data":{"DailyQuota":1,"ExpiresUtc":"2023-05-03T00:00:00Z"}}`,
		`{"type":"New company synchronised","companyId":"` + company + `","dataConnectionId":"` + company + `"}`,
		`{"type":"Data sync completed","companyId":"` + company + `","dataConnectionId":"` + company + `","data":{"dataType":"a","datasetId":"b"},"message":"m"}`,
	} {
		if status, _, answer := w.call("POST", "/events", w.account.APIKey, body); status != 202 {
			t.Fatalf("%s: %d %s", body, status, answer)
		}
	}
	w.ended(receipt)
	var issue string
	eventually(t, "a receiver that fails has an issue", func() bool {
		found, err := w.Issues(t.Context(), client.IssueFilter{State: herald.IssueOpen})
		if err != nil || len(found.Results) == 0 {
			return false
		}
		issue = found.Results[0].ID.String()
		return true
	})
	key, err := w.CreateKey(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := w.operator.CreateClientKey(t.Context(), other.ID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	w.undo = map[string]func(string){
		"createKey":       func(id string) { w.call("DELETE", "/apiKeys/"+id, w.account.APIKey, "") },
		"createClientKey": func(id string) { w.call("DELETE", "/apiKeys/"+id, other.APIKey, "") },
	}
	for _, name := range []string{"own", "old"} {
		if status, _, body := w.call("PUT", "/eventTypes/"+name, operatorKey, `{"message":"m","schema":{"type":"object"},"example":{}}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	ruleBody := func(id string) string {
		return `{"id":"` + id + `","type":"Sync Failed","companyId":"` + company + `","notifiers":{"emails":["a@acme.example"],"webhook":"` + hook + `"}}`
	}
	return &examples{walker: w,
		ids: map[string]string{
			"ruleId": rule.ID.String(), "deleteRule ruleId": spare.ID.String(), "alertId": receipt.AlertIDs[0].String(), "apiKeyId": key.ID.String(), "keyId": otherKey.ID.String(),
			"/events/{id} id": receipt.EventID.String(), "/events/{id}/rules id": receipt.EventID.String(), "/deliveries/{id} id": receipt.AlertIDs[0].String(), "/issues/{id} id": issue, "acknowledgeIssue id": issue, "redeliver id": receipt.AlertIDs[0].String(), "cancelDelivery id": pending.AlertIDs[0].String(), "retryDelivery id": waits.AlertIDs[0].String(),
			"id": other.ID.String(), "name": "own", "deleteEventType name": "old", "address": "a@acme.example",
		},
		bodies: map[string]string{
			"testRule":    `{"companyId":"` + company + `","dataConnectionId":"` + company + `","data":{"syncId":"s","syncType":"Expense","FailureStage":"Pushing"}}`,
			"previewRule": ruleBody(uuid.NewString()), "createRule": ruleBody(uuid.NewString()), "updateRule": ruleBody(rule.ID.String()),
			"updateProfile": `{"name":"Acme","redirectUrl":"https://acme.example/{companyId}","logoUrl":"https://acme.example/l","iconUrl":"https://acme.example/i","whiteListUrls":["https://acme.example"],"alertAuthHeader":"Bearer t","confirmCompanyName":true}`,
			"createKey":     `{"name":"walker","role":"analyst"}`, "createClientKey": `{"name":"walker","role":"analyst"}`,
			"publish": `{"type":"Sync Failed","clientId":"` + w.account.ID.String() + `","companyId":"` + company + `","data":{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"},` +
				`"message":"m","occurredAt":"2026-05-03T09:00:00Z","idempotencyKey":"k"}`,
			"recoverDeliveries": `{"receiver":"https://acme.example","type":"Sync Failed","company":"` + company + `","reason":"timeout","since":"2026-05-03T09:00:00Z","until":"2036-05-03T09:00:00Z","dryRun":true}`,
			"acknowledgeIssue":  `{"note":"n"}`,
			"setNotifications":  `{"failingAfterMinutes":10,"failingAfterDeliveries":100,"mailboxes":["ops@acme.example"],"webhooks":["` + hook + `"]}`,
			"setRuleSecurity":   `{"authorization":"none"}`,
			"createPortalLink":  `{"role":"analyst","expiresIn":60,"path":"/deliveries"}`,
			"createClient":      `{"name":"Made","role":"developer"}`, "renameClient": `{"name":"Renamed"}`,
			"saveEventType": `{"name":"own","label":"Own","company":false,"connection":false,"schema":{"type":"object"},"message":"m","example":{}}`,
		},
		queries: map[string]string{"getDelivery": "?body=true", "listAlerts": "?pageSize=2&orderBy=-id", "listRules": "?orderBy=-modifiedDate"},
	}
}

// resolve follows references and skips null in a choice.
func (w *walker) resolve(schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return w.document["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any)
	}
	for _, choice := range []string{"anyOf", "oneOf"} {
		if all, ok := schema[choice].([]any); ok {
			return w.resolve(all[0].(map[string]any))
		}
	}
	return schema
}

func (w *walker) takesNull(property map[string]any) bool {
	if all, ok := property["anyOf"].([]any); ok {
		return slices.ContainsFunc(all, func(one any) bool { return w.takesNull(one.(map[string]any)) })
	}
	switch kind := property["type"].(type) {
	case string:
		return kind == "null"
	case []any:
		enum, closed := property["enum"].([]any)
		return slices.Contains(kind, any("null")) && (!closed || slices.Contains(enum, nil))
	}
	return false
}

func (o *operation) requestSchema() map[string]any {
	body, _ := o.document["requestBody"].(map[string]any)
	if body == nil {
		return nil
	}
	return body["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
}

// parameters are the query parameters.
func (o *operation) parameters() map[string]bool {
	names := make(map[string]bool)
	all, _ := o.document["parameters"].([]any)
	for _, p := range all {
		if p := p.(map[string]any); p["in"] == "query" {
			names[p["name"].(string)] = true
		}
	}
	return names
}

var pathParameter = regexp.MustCompile(`\{\w+\}`)

func withIDs(path, id string) string { return pathParameter.ReplaceAllString(path, id) }

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decodedMember(t *testing.T, object, name string) (string, bool) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatal(err)
	}
	value, ok := members[name]
	return string(value), ok
}
