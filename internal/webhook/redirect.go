package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"herald/internal/egress"
)

// isRedirect reports whether a status is a redirect. Every 3xx status but 304 is followed if it names
// another address, as a POST with the same body (spec section 9.2).
func isRedirect(status int) bool { return status >= 300 && status <= 399 }

// follow returns the address that a redirect leads to, or an error that says why it may not be
// followed.
func follow(from *url.URL, r *http.Response) (*url.URL, error) {
	location := r.Header.Get("Location")
	switch {
	case r.StatusCode == http.StatusNotModified:
		return nil, errors.New("the status names no address to go to")
	case location == "":
		return nil, errors.New("it has no Location header")
	}
	to, err := egress.ResolveAddress(from, location)
	switch {
	case err != nil:
		return nil, fmt.Errorf("its Location header is not an address that can be called: %w", err)
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, errors.New("it leads from https to http")
	}
	return to, nil
}
