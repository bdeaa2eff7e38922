package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"herald/internal/egress"
)

// Through the operator's proxy every request goes in a tunnel (CONNECT), where all answers are the
// receiver's. Some proxies make tunnels to port 443 only. So a plain http request for which the proxy
// makes no tunnel is handed to the proxy whole, and the answer must be told apart by what it says. A
// refusal counts as the receiver's only if that is sure: the proxy's own must end no delivery.

// errWhose means that nothing says who answered a request that was handed to the proxy.
var errWhose = errors.New("nothing in the answer says whose it is")

// forwarded hands a request to the proxy, if err says that the proxy does not make such a tunnel. The
// error is a *egress.ProxyError, with errWhose where the receiver may have answered.
func (a *attempt) forwarded(target *target, err error) (*http.Response, error) {
	var refused *egress.ProxyError
	if !errors.As(err, &refused) || !refusesTunnels(refused.Status) {
		return nil, err
	}
	a.clock.reset()
	response, err := a.through(a.sender.forward, target)
	switch {
	case err != nil:
		return nil, err
	case isProxys(response.StatusCode, response.Header):
		response.Body.Close()
		a.clock.reset() // the receiver got nothing
		return nil, &egress.ProxyError{Status: response.StatusCode}
	case response.StatusCode > 299 && !cameBy(response.Header, refused):
		response.Body.Close()
		return nil, fmt.Errorf("%w: %w", errWhose, &egress.ProxyError{Status: response.StatusCode})
	default:
		return response, nil
	}
}

// refusesTunnels reports whether a proxy's answer to CONNECT can mean that it makes no such tunnels. A 407
// is about its credentials, and a 5xx about the receiver or the proxy itself.
func refusesTunnels(status int) bool {
	return status >= 400 && status <= 499 && status != http.StatusProxyAuthRequired && status != http.StatusTooManyRequests ||
		status == http.StatusNotImplemented
}

// isProxys reports whether an answer says that it is the proxy's own.
func isProxys(status int, h http.Header) bool {
	return status == http.StatusProxyAuthRequired || h.Get("Proxy-Authenticate") != "" || h.Get("X-Squid-Error") != "" ||
		hasError(h.Values("Proxy-Status"))
}

// cameBy reports whether an answer that does not say that it is the proxy's own was forwarded: then it has
// a Via (RFC 9110 section 7.6.3). Some proxies put one on their own answers too, as their refusal of
// CONNECT shows. Then the same Via proves nothing, unless that refusal did say that it was the proxy's own.
func cameBy(h http.Header, refused *egress.ProxyError) bool {
	via := h.Values("Via")
	return len(via) > 0 && (isProxys(refused.Status, refused.Header) || !slices.Equal(via, refused.Header.Values("Via")))
}

// hasError reports whether a Proxy-Status names an error of a proxy (RFC 9209 section 2.1.1).
func hasError(values []string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, "error=") })
}
