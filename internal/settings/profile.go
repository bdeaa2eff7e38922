package settings

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"herald"
)

// Limits on a profile, in bytes and characters.
const (
	maxAuthHeader  = 4096
	maxProfileText = 2048
	maxWhiteList   = 100
)

// CheckProfile checks a profile that replaces before. It takes what was there: a text that is the same as
// before is not checked, because other calls and earlier versions have other limits.
func CheckProfile(p, before herald.Profile) (problems Problems) {
	for _, m := range []struct {
		name, value, before string
		check               func(name, value string) error
	}{
		{"name", p.Name, before.Name, required},
		{"redirectUrl", p.RedirectURL, before.RedirectURL, webTemplate},
		{"logoUrl", p.LogoURL, before.LogoURL, webAddress},
		{"iconUrl", p.IconURL, before.IconURL, webAddress},
		{"alertAuthHeader", p.AlertAuthHeader, before.AlertAuthHeader, headerValue},
	} {
		if m.value == "" || m.value != m.before {
			problems.add(m.name, m.check(m.name, m.value))
		}
	}
	if !slices.Equal(p.WhiteListURLs, before.WhiteListURLs) {
		problems.add("whiteListUrls", checkWhiteList(p.WhiteListURLs))
	}
	return problems
}

func checkWhiteList(urls []string) error {
	if len(urls) > maxWhiteList {
		return herald.Invalid("whiteListUrls", "whiteListUrls: more than %d.", maxWhiteList)
	}
	for i, value := range urls {
		member := "whiteListUrls[" + strconv.Itoa(i) + "]"
		if value == "" {
			return herald.Invalid(member, "%s is empty.", member)
		}
		if err := webAddress(member, value); err != nil {
			return err
		}
	}
	return nil
}

func required(name, value string) error {
	if strings.TrimSpace(value) == "" {
		return herald.Invalid(name, "%s is missing.", name)
	}
	if len(value) > maxProfileText || strings.ContainsFunc(value, unicode.IsControl) {
		return herald.Invalid(name, "%s: want at most %d bytes without control characters.", name, maxProfileText)
	}
	return nil
}

// webAddress refuses what is no absolute http or https URI. Pages show these addresses as links
// and images, where javascript: or data: would run as the page's own.
func webAddress(name, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(value) > maxProfileText {
		return herald.Invalid(name, "%s %.100q: want an absolute address that begins with https:// or http://.", name, value)
	}
	return nil
}

// webTemplate refuses a URI template that may become something else than an absolute http or https
// address.
// The empty text is taken, because a client that has set none is shown it.
func webTemplate(name, value string) error {
	if value == "" {
		return nil
	}
	if err := required(name, value); err != nil {
		return err
	}
	scheme, rest, _ := strings.Cut(value, "://")
	isWeb := strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
	host, _, _ := strings.Cut(rest, "/")
	if isWeb && host != "" && !strings.ContainsAny(host[:1], `?#:@`) && !strings.ContainsAny(value, " \\") {
		return nil
	}
	return herald.Invalid(name, "%s %.100q: want a template that begins with https:// or http://, such as https://example.com/{companyId}.", name, value)
}

// headerValue refuses text that is not valid as an ASCII header's value. A scheme is
// optional (spec section 6.1, item 2; RFC 9110 section 5.5).
func headerValue(name, value string) error {
	if len(value) > maxAuthHeader {
		return herald.Invalid(name, "%s: more than %d bytes.", name, maxAuthHeader)
	}
	if strings.TrimSpace(value) != value {
		return herald.Invalid(name, "%s begins or ends with a blank.", name)
	}
	for i := range len(value) {
		if c := value[i]; c != '\t' && (c < ' ' || c > '~') {
			return herald.Invalid(name, "%s: the character at place %d is not allowed in a header; use visible ASCII.", name, i+1)
		}
	}
	return nil
}

// Schemes of the Authorization header, as forms name them.
const (
	SchemeNone   = "none"
	SchemeBasic  = "basic"
	SchemeBearer = "bearer"
	SchemeOther  = "other"
)

// Authorization is the Authorization header of a client's webhooks as a form asks for it. The scheme says
// which of the others count.
type Authorization struct{ Scheme, User, Password, Token, Value string }

// Header returns the header's value, empty for none. Errors do not show a secret, and their members are
// scheme, user, password, token and value.
func (a Authorization) Header() (header string, problems Problems) {
	switch a.Scheme {
	case SchemeNone:
		return "", nil
	case SchemeBasic:
		if a.User == "" {
			problems.add("user", herald.Invalid("user", "The user name is missing."))
		}
		if strings.Contains(a.User, ":") { // RFC 7617 section 2: the first colon ends it
			problems.add("user", herald.Invalid("user", "A user name of Basic has no colon."))
		}
		if strings.ContainsFunc(a.User+a.Password, unicode.IsControl) {
			problems.add("password", herald.Invalid("password", "The user name or the password has a control character, such as a line break."))
		}
		header = "Basic " + base64.StdEncoding.EncodeToString([]byte(a.User+":"+a.Password))
		problems.add("password", headerValue("password", header))
		return header, problems
	case SchemeBearer:
		if a.Token == "" || strings.ContainsFunc(a.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			problems.add("token", herald.Invalid("token", "Give the token alone, without the word Bearer, in visible ASCII without blanks."))
			return "", problems
		}
		problems.add("token", headerValue("token", "Bearer "+a.Token))
		return "Bearer " + a.Token, problems
	case SchemeOther:
		if a.Value == "" {
			problems.add("value", herald.Invalid("value", "The value is missing."))
		}
		problems.add("value", headerValue("value", a.Value))
		return a.Value, problems
	}
	problems.add("scheme", herald.Invalid("scheme", "Choose what is sent: %.20q is not one of %s, %s, %s and %s.", a.Scheme, SchemeNone, SchemeBasic, SchemeBearer, SchemeOther))
	return "", problems
}

// SchemeOf returns which scheme a header's value has. A value without Basic or Bearer is of another.
func SchemeOf(header string) string {
	scheme, _, found := strings.Cut(header, " ")
	switch {
	case header == "":
		return SchemeNone
	case found && strings.EqualFold(scheme, "Basic"):
		return SchemeBasic
	case found && strings.EqualFold(scheme, "Bearer"):
		return SchemeBearer
	default:
		return SchemeOther
	}
}
