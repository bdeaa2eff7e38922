package codat

import (
	"net/http"
	"net/url"
	"strings"
)

// literals are the words in the surface's paths, by their lower case. An id is none of them.
var literals = map[string]string{
	"rules": "rules", "alerts": "alerts", "security": "security", "preview": "preview", "test": "test",
	"profile": "profile", "syncsettings": "syncSettings", "apikeys": "apiKeys",
}

// AnyCase lets next serve the surface's paths whatever their case and with a slash at the end, as
// the vendor's service does. Requests reach next under the paths of Register: without a redirect,
// because a caller would follow it without the body of its POST. Ids and other paths stay as they
// are.
func AnyCase(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		path := canonicalPath(escaped)
		if path == escaped {
			next.ServeHTTP(w, r)
			return
		}
		plain, err := url.PathUnescape(path)
		if err != nil { // EscapedPath is always valid
			next.ServeHTTP(w, r)
			return
		}
		same, to := *r, *r.URL
		to.Path, to.RawPath = plain, path
		same.URL = &to
		next.ServeHTTP(w, &same)
	})
}

// canonicalPath returns the path of the surface that an escaped path means, or the path itself if
// it is none of the surface's.
func canonicalPath(escaped string) string {
	rest, absolute := strings.CutPrefix(escaped, "/")
	first, _, _ := strings.Cut(rest, "/") // publishes come through here: for other paths nothing is allocated
	switch word, _ := literal(first); {
	case !absolute:
		return escaped
	case word != "rules" && word != "profile" && word != "apiKeys":
		return escaped
	}
	segments := strings.Split(escaped, "/")
	if last := len(segments) - 1; last > 1 && segments[last] == "" {
		segments = segments[:last]
	}
	for i, segment := range segments {
		if word, ok := literal(segment); ok {
			segments[i] = word
		}
	}
	return strings.Join(segments, "/")
}

// literal returns the word of the surface's paths that a segment is, in any case.
func literal(segment string) (string, bool) {
	plain, err := url.PathUnescape(segment)
	if err != nil {
		return "", false
	}
	word, ok := literals[strings.ToLower(plain)]
	return word, ok
}
