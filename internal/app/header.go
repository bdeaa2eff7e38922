package app

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// takenHeaders are request headers with a meaning of their own: those that Herald or net/http set
// on a webhook, those that HTTP gives a meaning, and those that proxies and browsers set.
var takenHeaders = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers", "Access-Control-Request-Method",
	"Age", "Authorization", "Cache-Control", "Connection", "Cookie", "Cookie2", "Date", "Digest", "Dnt", "Expect", "Expires", "Forwarded",
	"From", "Herald-Test", "Host", "Http2-Settings", "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since",
	"Keep-Alive", "Link", "Location", "Max-Forwards", "Mime-Version", "Origin", "Pragma", "Prefer", "Priority", "Range", "Referer",
	"Retry-After", "Set-Cookie", "Te", "Traceparent", "Tracestate", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "Via",
	"Warning", "Www-Authenticate", "X-Http-Method-Override", "X-Real-Ip",
}

// takenPrefixes begin the names of such headers.
var takenPrefixes = []string{"Access-Control-", "Ce-", "Content-", "Proxy-", "Sec-", "Webhook-", "X-Forwarded-"}

// CheckClientIDHeader returns an error unless a name can be the header that names the client to
// receivers: a header's name that nothing else uses.
func CheckClientIDHeader(name string) error {
	if name == "" || !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%.100q is not the name of a header; want one such as X-Client-Id", name)
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if slices.Contains(takenHeaders, canonical) || slices.ContainsFunc(takenPrefixes, func(p string) bool { return strings.HasPrefix(canonical, p) }) {
		return fmt.Errorf("the header %.100q has another meaning in a request; want one that nothing else uses, such as X-Client-Id", name)
	}
	return nil
}
