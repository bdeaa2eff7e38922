package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"herald"
	"herald/internal/egress"
)

// Consent is what a receiver answered to the question whether it may be called.
type Consent struct {
	// Given is true if the receiver consents.
	Given bool
	// PerMinute is how many requests a minute it takes; 0 means any number.
	PerMinute int
	// Why says why it does not consent.
	Why string
	// Reason says why there was no answer; ReasonNone if there was one.
	Reason herald.Reason
	// Wait is how long to wait if the receiver could not be asked, because its address has had its
	// attempts for now.
	Wait time.Duration
}

// The headers of the question and of its answer.
const (
	requestOrigin = "WebHook-Request-Origin"
	requestRate   = "WebHook-Request-Rate"
	allowedOrigin = "WebHook-Allowed-Origin"
	allowedRate   = "WebHook-Allowed-Rate"
)

// AskConsent asks a receiver whether it may be called: an OPTIONS request as in section 4 of "HTTP 1.1
// Web Hooks for Event Delivery" of CloudEvents. origin is the DNS name of this service. perMinute is
// how many requests a minute it wants to send; 0 asks for no rate. Redirects are not followed.
func (s *Sender) AskConsent(ctx context.Context, address, origin string, perMinute int) Consent {
	target, err := egress.ParseAddress(address)
	if err != nil {
		return Consent{Reason: herald.ReasonAddress, Why: fmt.Sprintf("%.200q is not an address that can be called: %v", address, err)}
	}
	deadline, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	a := &attempt{sender: s, outer: ctx, started: time.Now()}
	header := http.Header{"User-Agent": {s.UserAgent}}
	header[requestOrigin] = []string{origin} // in the specification's upper and lower case
	if perMinute > 0 {
		header[requestRate] = []string{strconv.Itoa(perMinute)}
	}
	request := &http.Request{Method: http.MethodOptions, URL: egress.ForTransport(target, false), Host: target.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	// Each question is asked on a new connection, so the guard counts it at the dial.
	response, err := s.unpooled.RoundTrip(request.WithContext(a.clock.trace(deadline)))
	if err != nil {
		var limit *egress.LimitError
		if errors.As(err, &limit) {
			return Consent{Reason: herald.ReasonAttemptLimit, Why: limit.Error(), Wait: limit.Wait}
		}
		reason, text := a.classify(err)
		return Consent{Reason: reason, Why: text}
	}
	discard(response)
	return readConsent(response, origin)
}

// readConsent reads the answer (section 4.2).
func readConsent(r *http.Response, origin string) Consent {
	if r.StatusCode < 200 || r.StatusCode > 299 {
		return Consent{Why: "it answered the OPTIONS request with " + statusText(r.StatusCode)}
	}
	allowed := strings.TrimSpace(r.Header.Get(allowedOrigin))
	if allowed == "" {
		return Consent{Why: "its answer to the OPTIONS request has no " + allowedOrigin}
	}
	if allowed != "*" && !strings.EqualFold(allowed, origin) {
		return Consent{Why: fmt.Sprintf("its answer allows the origin %.100q and not %s", allowed, origin)}
	}
	rate := strings.TrimSpace(r.Header.Get(allowedRate))
	if rate == "" || rate == "*" {
		return Consent{Given: true}
	}
	perMinute, err := strconv.ParseInt(rate, 10, 32)
	if err != nil || perMinute < 1 {
		return Consent{Why: fmt.Sprintf("its answer has %s %.100q; want a number of requests per minute, or *", allowedRate, rate)}
	}
	return Consent{Given: true, PerMinute: int(perMinute)}
}

// Receiver returns the part of a webhook's address that consents: the origin and the path.
func Receiver(address string) (string, error) {
	u, err := egress.ParseAddress(address)
	if err != nil {
		return "", fmt.Errorf("%.200q: %w", address, err)
	}
	return originOf(u) + u.EscapedPath(), nil
}
