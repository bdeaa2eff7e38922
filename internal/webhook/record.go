package webhook

import (
	"net/http"
	"net/url"

	"herald"
)

// record returns the requests of an attempt as they were sent, and first has the headers of the first. All
// hops have the same headers, but for Authorization.
func (a *attempt) record(first *headers) *herald.RequestRecord {
	request := &herald.RequestRecord{Method: http.MethodPost, URL: a.url, Headers: first.recorded, Hops: a.hops, Redialled: a.redialled}
	for i := range a.hops {
		hop := &a.hops[i]
		hop.URL = a.mask.Text(hop.URL) // a receiver may redirect to an address that repeats the secret
		hop.Method, hop.Headers = http.MethodPost, first.recorded
		if hop.AuthorizationDropped != "" {
			hop.Headers = a.headers.recorded
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
func (a *attempt) hop(status int, from, to *target) herald.Hop {
	hop := herald.Hop{Status: status, URL: to.text}
	switch {
	case a.Authorization == "":
	case a.headers.sent["Authorization"] == nil:
		hop.AuthorizationDropped = "an earlier redirect led to another origin"
	case !keepsAuthorization(from.URL, to.URL):
		a.headers = a.sender.headers(headersOf{client: a.ClientID, test: a.Test})
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
