package webhook

import (
	"errors"
	"net/http"
	"net/url"
)

// isRedirect reports whether a status is a redirect. Every 3xx status either names another address
// or asks for something that a delivery cannot do (spec section 9.2).
func isRedirect(status int) bool { return status >= 300 && status <= 399 }

// follow returns the address that a redirect leads to, or an error that says why it may not be
// followed.
func follow(from *url.URL, r *http.Response) (*url.URL, error) {
	location := r.Header.Get("Location")
	switch {
	case r.StatusCode == http.StatusMultipleChoices, r.StatusCode == http.StatusNotModified:
		return nil, errors.New("the status names no address to go to")
	case location == "":
		return nil, errors.New("it has no Location header")
	}
	to, err := from.Parse(location)
	switch {
	case err != nil:
		return nil, errors.New("its Location header is not an address")
	case to.Scheme != "http" && to.Scheme != "https", to.Host == "":
		return nil, errors.New("its Location header is not an http or https address")
	case to.User != nil:
		return nil, errors.New("its Location header has a user name in it")
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, errors.New("it leads from https to http")
	}
	return to, nil
}
