package codat_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"herald/internal/api/codat"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
)

// TestDescribedWebhooksAreTheDeliveredBodies compares each described body with the body that is
// delivered for the type, which internal/intake keeps in a file.
func TestDescribedWebhooksAreTheDeliveredBodies(t *testing.T) {
	types, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	doc := openapi.New(http.NewServeMux(), "test").OpenAPI()
	codat.DescribeWebhooks(doc, types.Types())
	bodies, err := filepath.Glob("../../intake/testdata/bodies/*.json")
	if err != nil || len(bodies) < len(types.Types()) {
		t.Fatalf("%d bodies for %d types, %v", len(bodies), len(types.Types()), err)
	}
	byType := make(map[string]map[string]any)
	for _, file := range bodies {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(text, &body); err != nil {
			t.Fatal(err)
		}
		byType[body["RuleType"].(string)] = body
	}
	if len(doc.Webhooks) != len(types.Types()) {
		t.Errorf("%d webhooks are described, and there are %d types", len(doc.Webhooks), len(types.Types()))
	}
	for name, item := range doc.Webhooks {
		schema := item.Post.RequestBody.Content["application/json"].Schema
		body := byType[schema.Properties["RuleType"].Enum[0].(string)]
		if body == nil {
			t.Errorf("%s: there is no body of the type %v", name, schema.Properties["RuleType"].Enum)
			continue
		}
		checkMembers(t, name, schema, body)
		if data, ok := body["Data"].(map[string]any); ok {
			checkMembers(t, name+": Data", schema.Properties["Data"], data)
		}
	}
}

// checkMembers checks that a body has all required members, and none that is not described.
func checkMembers(t *testing.T, name string, schema *huma.Schema, body map[string]any) {
	t.Helper()
	for _, member := range schema.Required {
		if _, ok := body[member]; !ok {
			t.Errorf("%s: %s is described as required and not delivered", name, member)
		}
	}
	for member := range body {
		if schema.Properties[member] == nil {
			t.Errorf("%s: %s is delivered and not described", name, member)
		}
	}
}
