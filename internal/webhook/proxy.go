package webhook

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"herald/internal/egress"
)

// Through the operator's proxy every request goes in a tunnel (CONNECT), where all answers are the
// receiver's. Some proxies make tunnels to port 443 only. So a plain http request for which the proxy
// makes no tunnel is handed to the proxy whole, and the answer must be told apart by what it says.

// forwarded hands a request to the proxy, if err says that the proxy does not make such a tunnel.
func (a *attempt) forwarded(target *target, err error) (*http.Response, error) {
	var refused *egress.ProxyError
	if !errors.As(err, &refused) || !refusesTunnels(refused.Status) {
		return nil, err
	}
	a.clock.reset()
	response, err := a.through(a.sender.forward, target)
	if err == nil && answeredByProxy(response, refused.Status) {
		response.Body.Close()
		a.clock.reset() // the receiver got nothing
		return nil, &egress.ProxyError{Status: response.StatusCode}
	}
	return response, err
}

// refusesTunnels reports whether a proxy's answer to CONNECT can mean that it makes no such tunnels. A 407
// is about its credentials, and a 5xx about the receiver or the proxy itself.
func refusesTunnels(status int) bool {
	return status >= 400 && status <= 499 && status != http.StatusProxyAuthRequired && status != http.StatusTooManyRequests ||
		status == http.StatusNotImplemented
}

// answeredByProxy reports whether the answer to a request that was handed to the proxy is the proxy's own:
// it says so, or it is what the proxy answered to CONNECT and does not say that it was forwarded (RFC
// 9110 section 7.6.3).
func answeredByProxy(r *http.Response, toConnect int) bool {
	switch {
	case r.StatusCode == http.StatusProxyAuthRequired, r.Header.Get("Proxy-Authenticate") != "", r.Header.Get("X-Squid-Error") != "":
		return true
	case hasError(r.Header.Values("Proxy-Status")):
		return true
	default:
		return r.StatusCode == toConnect && r.Header.Get("Via") == ""
	}
}

// hasError reports whether a Proxy-Status names an error of a proxy (RFC 9209 section 2.1.1).
func hasError(values []string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, "error=") })
}
