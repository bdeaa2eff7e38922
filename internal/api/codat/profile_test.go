package codat_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

func TestProfileIsReplaced(t *testing.T) {
	r := newFixture(t)
	for _, test := range []struct{ name, body, want string }{
		{"full", `{"name":"Acme Ltd","logoUrl":"https://a.example/l.png","iconUrl":"https://a.example/i.png","redirectUrl":"https://a.example/{companyId}",
			"whiteListUrls":["https://a.example"],"apiKey":"ignored","alertAuthHeader":"Basic dXNlcjpwYXNz","confirmCompanyName":true,"other":1}`,
			`{"name":"Acme Ltd","logoUrl":"https://a.example/l.png","iconUrl":"https://a.example/i.png","redirectUrl":"https://a.example/{companyId}",` +
				`"whiteListUrls":["https://a.example"],"alertAuthHeader":"Basic dXNlcjpwYXNz","confirmCompanyName":true}`},
		{"what is left out is cleared, but the header stays", `{"name":"Acme","redirectUrl":"https://x.example"}`,
			`{"name":"Acme","redirectUrl":"https://x.example","whiteListUrls":[],"alertAuthHeader":"Basic dXNlcjpwYXNz","confirmCompanyName":false}`},
		{"nulls", `{"name":"Acme","redirectUrl":"https://x.example","logoUrl":null,"iconUrl":null,"whiteListUrls":null,"alertAuthHeader":null,"confirmCompanyName":null,"apiKey":null}`,
			`{"name":"Acme","redirectUrl":"https://x.example","whiteListUrls":[],"confirmCompanyName":false}`},
		{"empty texts", `{"name":"Acme","redirectUrl":"https://x.example","logoUrl":"","iconUrl":"","whiteListUrls":[],"alertAuthHeader":""}`,
			`{"name":"Acme","redirectUrl":"https://x.example","whiteListUrls":[],"confirmCompanyName":false}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			same(t, "PUT", test.want, r.must(200, "PUT", "/profile", test.body))
			same(t, "GET", test.want, r.must(200, "GET", "/profile", ""))
		})
	}
	if got := r.clients[r.rival].Profile; got.Name != "Rival" {
		t.Errorf("the rival's profile is now %+v", got)
	}
}

// TestWhatIsShownOfAProfileIsTaken: software reads the profile, changes one member, and writes it back.
// A profile that was never saved, or saved under other limits, is no exception.
func TestWhatIsShownOfAProfileIsTaken(t *testing.T) {
	for name, p := range map[string]herald.Profile{
		"new":               {Name: "Acme"},
		"with all members":  {Name: "Acme", LogoURL: "https://a.example/l", IconURL: "https://a.example/i", RedirectURL: "https://x.example", WhiteListURLs: []string{"https://a.example"}, AlertAuthHeader: "Bearer t", ConfirmCompanyName: true},
		"of earlier limits": {Name: "A\tB", LogoURL: "/logo", IconURL: "data:,x", RedirectURL: "ftp://a.example", WhiteListURLs: []string{"a.example"}, AlertAuthHeader: "é"},
	} {
		r := newFixture(t)
		client := r.clients[r.acme]
		client.Profile = p
		r.clients[r.acme] = client
		shown := r.must(200, "GET", "/profile", "")
		if strings.Contains(shown, "null") {
			t.Errorf("%s: %s has a null, and the vendor's clients take none", name, shown)
		}
		same(t, name, shown, r.must(200, "PUT", "/profile", shown))
		same(t, name+", again", shown, r.must(200, "GET", "/profile", ""))
	}
}

func TestHeaderStaysUnlessItIsNamed(t *testing.T) {
	r := newFixture(t)
	put := func(more string) string {
		r.must(200, "PUT", "/profile", `{"name":"Acme","redirectUrl":"https://x.example"`+more+`}`)
		return r.clients[r.acme].Profile.AlertAuthHeader
	}
	for _, step := range []struct{ more, want string }{
		{``, ""}, {`,"alertAuthHeader":"Bearer t"`, "Bearer t"}, {``, "Bearer t"}, {`,"alertAuthHeader":null`, ""},
		{`,"ALERTAUTHHEADER":"Bearer t"`, "Bearer t"}, {`,"apiKey":"k"`, "Bearer t"}, {`,"AlertAuthHeader":""`, ""},
	} {
		if got := put(step.more); got != step.want {
			t.Errorf("after %s the header is %q, want %q", step.more, got, step.want)
		}
	}
}

func TestAuthorizationHeaderIsTakenAsItIs(t *testing.T) {
	r := newFixture(t)
	for _, value := range []string{"Bearer abc", "no-scheme", `"quoted"`, "a\tb  c", "!~", strings.Repeat("a", 4096)} {
		body, err := json.Marshal(map[string]string{"name": "Acme", "redirectUrl": "https://x.example", "alertAuthHeader": value})
		if err != nil {
			t.Fatal(err)
		}
		r.must(200, "PUT", "/profile", string(body))
		if got := r.clients[r.acme].Profile.AlertAuthHeader; got != value {
			t.Errorf("%.50q is stored as %.50q", value, got)
		}
	}
}

func TestWrongProfileMemberIsNamed(t *testing.T) {
	r := newFixture(t)
	many := `"https://a.example"` + strings.Repeat(`,"https://a.example"`, 100)
	for member, values := range map[string][]string{
		"name": {`null`, `""`, `" "`, `7`, `"a\u0000"`, `"a\nb"`, `"` + strings.Repeat("a", 2049) + `"`},
		"redirectUrl": {`null`, `" "`, `{}`, `"a\tb"`, `"javascript:alert(1)"`, `" JavaScript:alert(1)"`, `"data:text/html,x"`, `"//evil.example"`, `"ftp://a.example/{id}"`, `"https:evil"`, `"https:///x"`, `"{+url}"`, `"{x}:y"`,
			`"x"`, `"www.a.example"`, `"a.example/{companyId}"`, `"/linked"`, `"https"`, `"https://"`, `"https://?a"`, `"http://:80/"`, `"https://a b/"`, `"https:\\\\a.example"`, `" https://a.example"`},
		"logoUrl": {`"/logo.png"`, `7`, `"https://a.example/` + strings.Repeat("a", 2048) + `"`, `"http://a b/"`,
			`"javascript:alert(1)"`, `"data:image/svg+xml,x"`, `"file:///etc/passwd"`, `"https:x"`, `"https:///x"`, `"mailto:a@b.example"`},
		"iconUrl":            {`"icon"`, `[]`, `"JavaScript:alert(1)"`, `"blob:https://a.example/1"`},
		"whiteListUrls":      {`"https://a.example"`, `[7]`, `[` + many + `]`},
		"whiteListUrls[1]":   {`["https://a.example","/x"]`, `["https://a.example",""]`, `["https://a.example",null]`, `["https://a.example","javascript:alert(1)"]`, `["https://a.example","ftp://a.example"]`},
		"confirmCompanyName": {`"true"`, `1`},
		"alertAuthHeader": {`7`, `"a\r\nX-Other: b"`, `"a\nb"`, `"a\rb"`, `"a\u0000"`, `"a\u007f"`, `"\u001b[0m"`, `"ü"`, `"a\u2028b"`, `" a"`, `"a "`, `" "`,
			`"\ta"`, `"` + strings.Repeat("a", 4097) + `"`},
	} {
		for _, value := range values {
			name, _, _ := strings.Cut(member, "[")
			r.refused(member, "PUT", "/profile", `{"name":"New","redirectUrl":"https://x.example","`+name+`":`+value+`}`)
		}
	}
	r.refused("name", "PUT", "/profile", `{"redirectUrl":"https://x.example"}`)
	r.refused("redirectUrl", "PUT", "/profile", `{"name":"New"}`)
	if got := r.clients[r.acme].Profile; got.Name != "Acme" {
		t.Errorf("a refused call changed the profile: %+v", got)
	}
}

func TestRefusedHeaderIsNotRepeated(t *testing.T) {
	r := newFixture(t)
	answer := r.as(acmeKey, "PUT", "/profile", `{"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"Bearer s3cret\n"}`)
	if strings.Contains(answer.Body.String(), "s3cret") {
		t.Errorf("the secret is repeated: %s", answer.Body)
	}
}

func TestSyncSettingsTellTheClientsID(t *testing.T) {
	r := newFixture(t)
	same(t, "syncSettings", `{"clientId":"`+r.acme.String()+`","overridesDefaults":false,"settings":[]}`, r.must(200, "GET", "/profile/syncSettings", ""))
}

func TestKeyIsShownOnceAndWorks(t *testing.T) {
	r := newFixture(t)
	var made struct {
		ID                        uuid.UUID
		Name, APIKey, CreatedDate string
	}
	body := r.must(201, "POST", "/apiKeys", `{"name":"Billing & more","id":"x"}`)
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	same(t, "POST", `{"id":"`+made.ID.String()+`","name":"Billing & more","apiKey":"`+made.APIKey+`","createdDate":"`+made.CreatedDate+`"}`, body)
	if at, err := time.Parse(time.RFC3339Nano, made.CreatedDate); err != nil || !strings.HasSuffix(made.CreatedDate, "Z") || time.Since(at) > time.Minute {
		t.Errorf("createdDate %q, %v", made.CreatedDate, err)
	}
	if got := r.as(made.APIKey, "GET", "/profile/syncSettings", ""); got.Code != 200 || !strings.Contains(got.Body.String(), r.acme.String()) {
		t.Errorf("the new key: %d %s", got.Code, got.Body)
	}
	first := r.keys[0].ID.String()
	same(t, "GET", `{"results":[{"id":"`+first+`","createdDate":"2022-04-11T13:49:37Z"},`+
		`{"id":"`+made.ID.String()+`","name":"Billing & more","createdDate":"`+made.CreatedDate+`"}]}`, r.must(200, "GET", "/apiKeys", ""))
}

func TestKeyNameIsOptionalAndBounded(t *testing.T) {
	r := newFixture(t)
	for _, body := range []string{``, " \n", `null`, " null\n", `{}`, `{"name":null}`, `{"name":""}`} {
		if got := r.must(201, "POST", "/apiKeys", body); !strings.Contains(got, `"name":"made up"`) {
			t.Errorf("%q: %s, want a name that was made up", body, got)
		}
	}
	r.must(201, "POST", "/apiKeys", `{"name":"`+strings.Repeat("ü", 50)+`"}`)
	got := failed(t, r.as(acmeKey, "POST", "/apiKeys", `{"name":"`+strings.Repeat("ü", 51)+`"}`))
	text := "Max string length (50) for `name` reached."
	if diff := cmp.Diff(failure{400, "PublicApi", text, "name", text}, got); diff != "" {
		t.Errorf("51 characters (-want +got):\n%s", diff)
	}
	for _, name := range []string{`7`, `[]`, `"a\u0000"`} {
		r.refused("name", "POST", "/apiKeys", `{"name":`+name+`}`)
	}
}

func TestEleventhKeyIsRefused(t *testing.T) {
	r := newFixture(t)
	for range herald.MaxKeys - 1 {
		r.must(201, "POST", "/apiKeys", `{}`)
	}
	got := failed(t, r.as(acmeKey, "POST", "/apiKeys", `{}`))
	want := failure{Status: 409, Service: "PublicApi", Error: "Maximum number of API keys reached. To create a new API key, delete an unused key and try again."}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the eleventh (-want +got):\n%s", diff)
	}
}

func TestKeyMayDeleteItselfUnlessItIsTheLast(t *testing.T) {
	r := newFixture(t)
	first := "/apiKeys/" + r.keys[0].ID.String()
	if f := failed(t, r.as(acmeKey, "DELETE", first, "")); f.Status != 409 {
		t.Errorf("the last key: %+v, want 409", f)
	}
	r.must(201, "POST", "/apiKeys", `{}`)
	answer := r.as(acmeKey, "DELETE", first, "")
	if answer.Code != 204 || answer.Body.Len() > 0 {
		t.Errorf("a key deletes itself: %d %q, want 204 and no body", answer.Code, answer.Body)
	}
	if f := failed(t, r.as(acmeKey, "GET", "/apiKeys", "")); f.Status != 401 {
		t.Errorf("the deleted key: %+v, want 401", f)
	}
}

func FuzzAlertAuthHeader(f *testing.F) {
	for _, value := range []string{"", "Basic " + base64.StdEncoding.EncodeToString([]byte("a:b")), "a\r\nb", "\t", "é", "\x7f", "a\x00"} {
		f.Add(value)
	}
	r := newFixture(f)
	f.Fuzz(func(t *testing.T, value string) {
		body, err := json.Marshal(map[string]string{"name": "Acme", "redirectUrl": "https://x.example", "alertAuthHeader": value})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.as(acmeKey, "PUT", "/profile", string(body)); got.Code != 200 {
			if e := failed(t, got); e.Status != 400 || e.ItemID != "alertAuthHeader" {
				t.Errorf("%q: %+v", value, e)
			}
			return
		}
		stored := r.clients[r.acme].Profile.AlertAuthHeader
		bad := func(c rune) bool { return c != '\t' && (c < ' ' || c > '~') }
		if stored != value || strings.ContainsFunc(stored, bad) || strings.Trim(stored, " \t") != stored || len(stored) > 4096 {
			t.Errorf("%q is stored as %q", value, stored)
		}
	})
}
