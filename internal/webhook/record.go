package webhook

import (
	"maps"
	"net/http"
	"net/url"

	"herald"
	"herald/internal/egress"
	"herald/internal/secret"
)

// record returns the requests of an attempt as they were sent. All hops have the same headers, but for
// Authorization.
func (a *attempt) record() *herald.RequestRecord {
	headers := make(map[string]string, len(a.header)+1)
	for name, values := range a.header {
		headers[name] = values[0]
	}
	delete(headers, "Authorization")
	plain := headers
	if a.Authorization != "" {
		if len(a.hops) > 0 {
			plain = maps.Clone(headers)
		}
		headers["Authorization"] = secret.MaskAuthorization(a.Authorization)
	}
	request := &herald.RequestRecord{Method: http.MethodPost, URL: a.url, Headers: headers, Hops: a.hops, Redialled: a.redialled}
	if request.URL == "" {
		request.URL = a.URL // it cannot be called
	}
	for i := range a.hops {
		hop := &a.hops[i]
		hop.URL = a.mask.Text(hop.URL) // a receiver may redirect to an address that repeats the secret
		hop.Method, hop.Headers = http.MethodPost, headers
		if hop.AuthorizationDropped != "" {
			hop.Headers = plain
		}
	}
	if unsent := !a.redialled && !a.clock.connected(); len(a.hops) == 0 {
		request.Unsent = unsent
	} else {
		a.hops[len(a.hops)-1].Unsent = unsent
	}
	return request
}

// hop returns the record of a redirect that is followed. It takes the Authorization header out of the
// next request, and of all after it, if the redirect leads to where it may not be sent.
func (a *attempt) hop(status int, from, to *url.URL) herald.Hop {
	hop := herald.Hop{Status: status, URL: egress.Text(to)}
	switch {
	case a.Authorization == "":
	case a.header["Authorization"] == nil:
		hop.AuthorizationDropped = "an earlier redirect led to another origin"
	case !keepsAuthorization(from, to):
		a.header = a.header.Clone() // the request before may still be being written
		a.header.Del("Authorization")
		hop.AuthorizationDropped = "the redirect leads to another origin: another scheme, host or port"
	}
	return hop
}

// keepsAuthorization reports whether a redirect leads to the receiver that the Authorization header is
// for: the same origin, or the same host with https in place of http, both on their own ports.
func keepsAuthorization(from, to *url.URL) bool {
	if originOf(from) == originOf(to) {
		return true
	}
	return from.Scheme == "http" && to.Scheme == "https" && from.Port() == "" && to.Port() == "" && from.Host == to.Host
}
