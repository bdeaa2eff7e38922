package secret

import "strings"

// MaskAuthorization returns what may be shown of an Authorization header: the
// scheme if it is Basic or Bearer, in any case of letters, and nothing of any
// other value. A value needs no scheme (spec section 6.1), so its first word may
// be part of the secret.
func MaskAuthorization(value string) string {
	scheme, _, found := strings.Cut(value, " ")
	if found && (strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Bearer")) {
		return scheme + " …"
	}
	return "…"
}
