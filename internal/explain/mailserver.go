package explain

import (
	"net/url"
	"regexp"

	"herald"
)

// smtpMethod is the method of a mail's attempt.
const smtpMethod = "SMTP"

// ipAddress finds IP addresses, with or without a port, in the text of an error or a reply.
var ipAddress = regexp.MustCompile(`\[[0-9a-fA-F:.%]*:[0-9a-fA-F:.%a-z]*\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b|\b[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){3,7}\b`)

// WithoutMailServer returns attempts as a client may see them. The mail server is the operator's,
// and often in a private network: where it is concerns no client.
func WithoutMailServer(attempts []herald.Attempt) []herald.Attempt {
	for i, a := range attempts {
		if a.Request == nil || a.Request.Method != smtpMethod {
			continue
		}
		server, err := url.Parse(a.Request.URL)
		if err != nil {
			server = &url.URL{Scheme: "smtp"}
		}
		request := *a.Request
		request.URL = server.Scheme + ":"
		attempts[i].Request = &request
		hide := func(text string) string {
			text = ipAddress.ReplaceAllString(text, "(address)")
			if name := server.Hostname(); name != "" {
				text = regexp.MustCompile(`(?i)`+regexp.QuoteMeta(name)+`(:\d+)?`).ReplaceAllString(text, "(mail server)")
			}
			return text
		}
		attempts[i].Error = hide(a.Error)
		if a.Response != nil {
			response := *a.Response
			response.Body = hide(response.Body)
			attempts[i].Response = &response
		}
	}
	return attempts
}
