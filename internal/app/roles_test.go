package app_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald/client"
)

// role makes a key of a role and returns it, with an API that uses it.
func (f *fixture) role(role string) (key client.Key, as *client.API) {
	f.t.Helper()
	key, err := f.operator.CreateClientKey(f.t.Context(), f.account.ID, "the "+role+"'s", role)
	if err != nil {
		f.t.Fatal(err)
	}
	return key, f.as(key.APIKey)
}

// TestAnalystOnlyReads makes every call of the OpenAPI document, so that it covers new calls too
// (spec section 11).
func TestAnalystOnlyReads(t *testing.T) {
	f := newFixture(t)
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: "Basic planted"}); err != nil {
		t.Fatal(err)
	}
	key, _ := f.role("analyst")
	var document struct {
		Paths map[string]map[string]map[string]json.RawMessage
	}
	_, _, text := f.call("GET", "/openapi.json", "", "")
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	refused, allowed := 0, 0
	for path, methods := range document.Paths {
		filled := path
		for strings.Contains(filled, "{") {
			before, rest, _ := strings.Cut(filled, "{")
			_, after, _ := strings.Cut(rest, "}")
			filled = before + uuid.NewString() + after
		}
		for method, call := range methods {
			if string(call["security"]) == "[]" {
				continue // open to all
			}
			status, _, body := f.call(strings.ToUpper(method), filled, key.APIKey, "")
			hidden := method != "get" || path == "/apiKeys" || path == "/audit" || path == "/status" || strings.HasPrefix(path, "/clients")
			if hidden && status != 403 || !hidden && status != 200 && status != 404 {
				t.Errorf("%s %s: %d %s", method, path, status, body)
			}
			if strings.Contains(body, "planted") {
				t.Errorf("%s %s shows the Authorization header: %s", method, path, body)
			}
			if hidden {
				refused++
			} else {
				allowed++
			}
		}
	}
	if refused < 15 || allowed < 10 {
		t.Errorf("%d calls were refused and %d allowed: too few were made", refused, allowed)
	}
}

func TestOnlyAdministratorsChangeAdministratorsKeys(t *testing.T) {
	f := newFixture(t)
	adminKey, admin := f.role("administrator")
	_, developer := f.role("developer")
	for name, err := range map[string]error{
		"making one":   second(developer.CreateKey(t.Context(), "mine", "administrator")),
		"deleting one": developer.DeleteKey(t.Context(), adminKey.ID),
	} {
		wantStatus(t, "a developer "+name, err, 403)
	}
	wantStatus(t, "an unknown role", second(admin.CreateKey(t.Context(), "mine", "root")), 400)
	wantStatus(t, "an unknown client", second(f.operator.CreateClientKey(t.Context(), uuid.New(), "", "")), 404)
	made, err := admin.CreateKey(t.Context(), "another", "administrator")
	if err != nil || made.Role != "administrator" {
		t.Fatalf("%+v, %v", made, err)
	}
	if err := admin.DeleteKey(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	keys, err := developer.Keys(t.Context())
	var roles []string
	for _, k := range keys {
		roles = append(roles, k.Role)
	}
	if want := []string{"", "administrator", ""}; err != nil || !slices.Equal(roles, want) {
		t.Errorf("keys of %v, %v; want %v", roles, err, want)
	}
}

func wantStatus(t *testing.T, what string, err error, want int) {
	t.Helper()
	var answer *client.Error
	if !errors.As(err, &answer) || answer.StatusCode != want {
		t.Errorf("%s: %v, want status %d", what, err, want)
	}
}

func second[T any](_ T, err error) error { return err }

func TestChangesAreAudited(t *testing.T) {
	f := newFixture(t)
	rule := f.rule("https://one.example/hook", uuid.Nil)
	rule.Notifiers.Webhook = "https://two.example/hook"
	for range 2 { // the second changes nothing
		if _, err := f.UpdateRule(t.Context(), rule); err != nil {
			t.Fatal(err)
		}
	}
	for _, header := range []string{"Basic planted-one", "Bearer planted-two", ""} {
		if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: header}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.operator.RenameClient(t.Context(), f.account.ID, "Acme Ltd"); err != nil {
		t.Fatal(err)
	}
	page, err := f.Changes(t.Context(), client.ChangeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(page.Results)
	var got []string
	for _, c := range page.Results {
		got = append(got, c.Action+" by "+c.Actor+" "+string(c.Before)+" → "+string(c.After))
		if c.Address != "127.0.0.1" || c.ClientID != f.account.ID || c.At.IsZero() || (c.Actor == "apiKey") != (c.APIKeyID != uuid.Nil) {
			t.Errorf("entry %+v", c)
		}
	}
	one, two := `{"type":"sync-failed","webhook":"https://one.example/hook","authorization":true}`, `{"type":"sync-failed","webhook":"https://two.example/hook","authorization":true}`
	want := []string{
		`client.created by operator  → {"name":"Acme"}`,
		`apiKey.created by operator  → {"role":"developer"}`,
		`rule.created by apiKey  → ` + one,
		`rule.updated by apiKey ` + one + ` → ` + two,
		`profile.updated by apiKey {"name":"Acme"} → {"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"Basic … (changed)"}`,
		`profile.updated by apiKey {"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"Basic …"} → {"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"Bearer … (changed)"}`,
		`profile.updated by apiKey {"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"Bearer …"} → {"name":"Acme","redirectUrl":"https://x.example"}`,
		`rule.deleted by apiKey ` + two + ` → `,
		`client.renamed by operator {"name":"Acme"} → {"name":"Acme Ltd"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	other, err := f.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := f.call("GET", "/audit?client="+f.account.ID.String(), other.APIKey, "")
	if status != 404 {
		t.Errorf("another client's log: %d %s", status, body)
	}
	all, err := f.operator.Changes(t.Context(), client.ChangeFilter{})
	if err != nil || len(all.Results) != len(want)+2 {
		t.Errorf("the operator sees %d changes, %v; want %d", len(all.Results), err, len(want)+2)
	}
	its, err := f.operator.Changes(t.Context(), client.ChangeFilter{Client: other.ID, Cursor: client.Cursor{Limit: 1}})
	if err != nil || len(its.Results) != 1 || its.Next == uuid.Nil || its.Results[0].Action != "apiKey.created" {
		t.Errorf("of the other client: %+v, %v", its, err)
	}
}
