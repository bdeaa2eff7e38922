package secret

import "strings"

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
