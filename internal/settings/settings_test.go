package settings

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

func members(problems Problems) string {
	var names []string
	for _, p := range problems {
		names = append(names, p.Member)
	}
	return strings.Join(names, " ")
}

// TestEveryWrongMemberOfARuleIsNamed: a form shows all messages at once, and the API the first.
func TestEveryWrongMemberOfARuleIsNamed(t *testing.T) {
	types, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(raw string) error {
		if strings.HasPrefix(raw, "https://") {
			return nil
		}
		return herald.Invalid("notifiers.webhook", "%s cannot be called", raw)
	}
	company := uuid.New()
	for _, test := range []struct {
		in   RuleInput
		want string
	}{
		{RuleInput{Type: "Sync Failed", CompanyID: company.String(), Webhook: "https://a.example/", Emails: []string{"a@b.example, c@d.example"}}, ""},
		{RuleInput{Type: "Sync Failed"}, ""},
		{RuleInput{}, "type"},
		{RuleInput{Type: " ", CompanyID: "x", Webhook: "ftp://x", Emails: []string{"x"}}, "type companyId notifiers.webhook notifiers.emails[0]"},
		{RuleInput{Type: strings.Repeat("x", 201), CompanyID: company.String() + " "}, "type companyId"},
		{RuleInput{Type: "Sync Failed", Emails: []string{"a@b.example", ","}}, "notifiers.emails[1]"},
		{RuleInput{Type: "Sync Failed", Emails: make([]string, 101)}, "notifiers.emails"},
	} {
		made, problems := CheckRule(test.in, types, refuse)
		if members(problems) != test.want || test.want == "" && (made.Type != "Sync Failed" || made.Webhook != test.in.Webhook) {
			t.Errorf("%.80v: %q, want %q; %+v", test.in, members(problems), test.want, made)
		}
	}
	if _, problems := CheckRule(RuleInput{Type: "Sync Failed", Webhook: "x"}, types, func(string) error { return errors.New("down") }); members(problems) != "notifiers.webhook" {
		t.Errorf("an error without a member: %v", problems)
	}
}

func TestProfileTakesWhatItHad(t *testing.T) {
	old := herald.Profile{Name: "a\x01", RedirectURL: "ftp://x", WhiteListURLs: []string{""}}
	if problems := CheckProfile(old, old); len(problems) > 0 {
		t.Errorf("what was there: %v", problems)
	}
	wrong := herald.Profile{Name: " ", RedirectURL: "x", LogoURL: "javascript:x", IconURL: "/x", WhiteListURLs: []string{"x"}, AlertAuthHeader: "a\nb"}
	if got := members(CheckProfile(wrong, old)); got != "name redirectUrl logoUrl iconUrl alertAuthHeader whiteListUrls[0]" {
		t.Errorf("%q", got)
	}
}

func TestAuthorizationHeader(t *testing.T) {
	for _, test := range []struct {
		in           Authorization
		want, wanted string
	}{
		{Authorization{Scheme: "none", Token: "x"}, "", ""},
		{Authorization{Scheme: "basic", User: "ann", Password: "s3:cret"}, "Basic YW5uOnMzOmNyZXQ=", ""},
		{Authorization{Scheme: "bearer", Token: "t0ken"}, "Bearer t0ken", ""},
		{Authorization{Scheme: "other", Value: "key 1"}, "key 1", ""},
		{Authorization{Scheme: "basic", User: "a:b"}, "", "user"}, {Authorization{Scheme: "basic"}, "", "user"},
		{Authorization{Scheme: "basic", User: "a", Password: "x\n"}, "", "password"},
		{Authorization{Scheme: "bearer", Token: "Bearer x"}, "", "token"}, {Authorization{Scheme: "bearer"}, "", "token"},
		{Authorization{Scheme: "other", Value: " x"}, "", "value"}, {Authorization{Scheme: "other"}, "", "value"},
		{Authorization{Scheme: "basic", User: "a", Password: strings.Repeat("x", 4096)}, "", "password"}, {Authorization{}, "", "scheme"},
	} {
		got, problems := test.in.Header()
		if members(problems) != test.wanted || test.wanted == "" && got != test.want {
			t.Errorf("%.80v: %q, %q", test.in, got, members(problems))
		}
		for _, p := range problems {
			if strings.Contains(p.Message, "x\n") || strings.Contains(p.Message, "xxxx") {
				t.Errorf("the message shows the secret: %.100s", p.Message)
			}
		}
	}
	if got := members(CheckKey(strings.Repeat("x", 51), "boss")); got != "name role" {
		t.Errorf("key: %q", got)
	}
}
