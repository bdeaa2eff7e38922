package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// MaskAuthorization returns the part of an Authorization header that may be shown. It is
// the scheme if that is Basic or Bearer in any case, and nothing for any other value. A value
// needs no scheme (spec section 6.1), so its first word may be part of the secret.
func MaskAuthorization(value string) string {
	scheme, _, found := strings.Cut(value, " ")
	if found && (strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Bearer")) {
		return scheme + " …"
	}
	return "…"
}

// shortestMasked is the length of the shortest text that Mask replaces, in bytes. Shorter ones would
// be found in words that have nothing to do with the secret.
const shortestMasked = 4

// maskText replaces a secret in a text.
const maskText = "…"

// Mask replaces an Authorization header and its parts in texts that come back from a receiver. The zero
// value replaces nothing.
type Mask struct {
	forms []string // the longest first
	lower []string // the same in lower case
}

// NewMask returns the Mask of the value of an Authorization header. It finds the value, its credentials
// without the scheme, and the password of Basic credentials: as they are, in base64, percent-encoded,
// in hexadecimal digits, and escaped for JSON and HTML.
func NewMask(authorization string) Mask {
	if authorization == "" {
		return Mask{}
	}
	secrets := []string{authorization}
	if scheme, credentials, found := strings.Cut(authorization, " "); found {
		credentials = strings.TrimSpace(credentials)
		secrets = append(secrets, credentials)
		if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
			_, password, _ := strings.Cut(string(plain), ":")
			secrets = append(secrets, string(plain), password)
		}
	}
	var m Mask
	for _, s := range secrets {
		for _, form := range append(encodings(s), s) {
			if len(form) >= shortestMasked && !slices.Contains(m.forms, form) {
				m.forms = append(m.forms, form)
			}
		}
	}
	slices.SortStableFunc(m.forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range m.forms {
		m.lower = append(m.lower, strings.ToLower(form))
	}
	return m
}

// encodings returns the forms of a secret that are cheap to look for.
func encodings(s string) []string {
	query, path := url.QueryEscape(s), url.PathEscape(s)
	forms := []string{
		base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)), // without padding they match with it too
		query, path, lowerEscapes(query), lowerEscapes(path), percentAll(s),
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
		html.EscapeString(s), strings.ReplaceAll(s, "/", `\/`),
	}
	if quoted, err := json.Marshal(s); err == nil { // a string is always JSON
		forms = append(forms, strings.Trim(string(quoted), `"`))
	}
	return forms
}

// lowerEscapes puts the digits of percent escapes in lower case.
func lowerEscapes(text string) string {
	b := []byte(text)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(text[i+1:i+3]))
		}
	}
	return string(b)
}

// percentAll escapes every byte.
func percentAll(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return b.String()
}

// Longest returns how many bytes the longest text takes that Text replaces.
func (m Mask) Longest() int {
	if len(m.forms) == 0 {
		return 0
	}
	return len(m.forms[0])
}

// Text returns text with "…" in place of the secret.
func (m Mask) Text(text string) string {
	for _, form := range m.forms {
		if strings.Contains(text, form) {
			text = strings.ReplaceAll(text, form, maskText)
		}
	}
	return text
}

// Name returns the name of a header with "…" in place of the secret. Names are compared without regard
// to case, because net/http changes it.
func (m Mask) Name(name string) string {
	if len(m.lower) == 0 || len(name) < shortestMasked {
		return name
	}
	lower := strings.ToLower(name)
	if slices.ContainsFunc(m.lower, func(form string) bool { return strings.Contains(lower, form) }) {
		return maskText
	}
	return name
}
