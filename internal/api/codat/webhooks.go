package codat

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"herald/internal/catalogue"
)

// DescribeWebhooks adds the requests that receivers get to the document of the API, one
// for each event type: the body of spec section 8.0 and the headers of section 9.1.
func DescribeWebhooks(doc *huma.OpenAPI, types []*catalogue.Type) {
	doc.Webhooks = make(map[string]*huma.PathItem, len(types))
	for _, t := range types {
		doc.Webhooks[webhookName(t)] = &huma.PathItem{Post: &huma.Operation{
			OperationID: webhookName(t) + "Webhook", Tags: []string{"Webhooks"}, Summary: t.Label,
			Description: "Sent to the webhook of each rule that an event of the type " + t.Name + " meets. " +
				"It can come more than once, with the same body: handle each AlertId once.",
			Security: []map[string][]string{},
			Parameters: []*huma.Param{
				{Name: "X-Codat-ClientId", In: "header", Required: true, Schema: &huma.Schema{Type: "string", Format: "uuid"},
					Description: "The client whose rule it is. The operator can choose another name."},
				{Name: "Authorization", In: "header", Schema: &huma.Schema{Type: "string"},
					Description: "The profile's alertAuthHeader as it is; absent if there is none."},
			},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: webhookBody(t)}}},
			Responses: map[string]*huma.Response{
				"2XX": {Description: "The alert was taken. What the body says does not count."},
				"429": {Description: "Not now. Retried, after Retry-After if there is one. So are 408, 420, 460, 502, 503, 504, 522 and 524."},
				"500": {Description: "Any other status, this one too, ends the delivery: it is not retried."},
			},
		}}
	}
}

// webhookName is a type's name as an identifier, such as dataSyncCompleted.
func webhookName(t *catalogue.Type) string {
	words := strings.FieldsFunc(t.Name, func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
	for i, word := range words {
		if first := strings.ToUpper(word[:1]); i > 0 {
			words[i] = first + word[1:]
		} else {
			words[i] = strings.ToLower(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}

// webhookBody is the schema of the delivered body of a type.
func webhookBody(t *catalogue.Type) *huma.Schema {
	id := func() *huma.Schema { return &huma.Schema{Type: "string", Format: "uuid"} }
	text := func() *huma.Schema { return &huma.Schema{Type: "string"} }
	body := &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
		"ClientId": id(), "ClientName": text(), "RuleId": id(), "AlertId": id(), "Message": text(),
		"RuleType": {Type: "string", Enum: []any{t.Delivered}},
	}, Required: []string{"ClientId", "ClientName", "RuleId", "RuleType", "AlertId", "Message"}}
	add := func(name string, schema *huma.Schema) {
		body.Properties[name] = schema
		body.Required = append(body.Required, name)
	}
	if t.Company {
		add("CompanyId", id())
	}
	if t.Connection {
		add("DataConnectionId", id())
	}
	if t.Data(t.Example) != nil {
		add("Data", webhookData(t))
	}
	return body
}

func webhookData(t *catalogue.Type) *huma.Schema {
	data := &huma.Schema{Type: "object", Properties: make(map[string]*huma.Schema)}
	for _, m := range t.Members() {
		schema := &huma.Schema{Type: "string", Nullable: strings.HasSuffix(m.Kind, "or null")}
		if strings.HasPrefix(m.Kind, "number") {
			schema.Type = "number"
		}
		for _, value := range m.Values {
			schema.Enum = append(schema.Enum, value)
		}
		data.Properties[m.Name] = schema
		if !m.Optional {
			data.Required = append(data.Required, m.Name)
		}
	}
	return data
}
