package secret_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"herald/internal/secret"
)

var escape = regexp.MustCompile("%..")

func TestMaskFindsTheSecretInItsForms(t *testing.T) {
	for _, header := range []string{
		"Bearer s3cr/et+t0ken==&\"<x>", "Basic " + base64.StdEncoding.EncodeToString([]byte("joe:pass/wörd+1")), "raw-key-without-scheme", "Token a b c d",
	} {
		mask := secret.NewMask(header)
		_, credentials, found := strings.Cut(header, " ")
		secrets := []string{header}
		if found {
			secrets = append(secrets, credentials)
		}
		if strings.HasPrefix(header, "Basic") {
			secrets = append(secrets, "joe:pass/wörd+1", "pass/wörd+1")
		}
		for _, s := range secrets {
			quoted, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			for name, form := range map[string]string{
				"as it is": s, "base64": base64.StdEncoding.EncodeToString([]byte(s)), "base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(s)),
				"query": url.QueryEscape(s), "path": url.PathEscape(s), "lower case": escape.ReplaceAllStringFunc(url.QueryEscape(s), strings.ToLower),
				"hex": hex.EncodeToString([]byte(s)), "JSON": string(quoted), "HTML": html.EscapeString(s),
			} {
				got := mask.Text("before " + form + " after")
				if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, "…") || strings.Contains(got, strings.Trim(form, "=\"")) {
					t.Errorf("%s of %q: %q", name, s, got)
				}
			}
		}
		if got := mask.Text("nothing of it"); got != "nothing of it" {
			t.Errorf("%q: %q", header, got)
		}
		if got := mask.Name("X-" + strings.ToUpper(header)); got != "…" {
			t.Errorf("the name of a header is shown as %q", got)
		}
	}
	for _, header := range []string{"", "a", "Basic YQ==", "x y"} {
		if got := secret.NewMask(header).Text("a day at the bay"); got != "a day at the bay" {
			t.Errorf("%q: %q", header, got)
		}
	}
}
