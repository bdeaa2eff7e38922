package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"herald"
	"herald/internal/egress"
	"herald/internal/localfault"
)

// failure returns the result of an attempt without a response: a stable reason, and a sentence for
// the person who looks for the cause. The sentence reveals nothing about an address that may not be
// called.
func (a *attempt) failure(err error) Result {
	var limit *egress.LimitError
	reason, text := a.classify(err)
	if len(a.hops) > 0 {
		text = fmt.Sprintf("after the redirect to %s: %s", a.hops[len(a.hops)-1].URL, text)
	}
	result := Result{Reason: reason, Error: text}
	if reason == herald.ReasonAttemptLimit && errors.As(err, &limit) {
		result.Wait = limit.Wait
	}
	return result
}

func (a *attempt) classify(err error) (herald.Reason, string) {
	var (
		limit       *egress.LimitError
		proxy       *egress.ProxyError
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case a.outer.Err() != nil:
		return herald.ReasonInterrupted, "the service stopped during the attempt; the request may have been sent"
	case errors.Is(err, egress.ErrNotAllowed):
		return herald.ReasonNotAllowed, egress.ErrNotAllowed.Error()
	case errors.As(err, &limit):
		return herald.ReasonAttemptLimit, limit.Error()
	case a.localFault(err) != "":
		return herald.ReasonLocal, a.localFault(err) + "; nothing was sent"
	case errors.Is(err, errWhose) && errors.As(err, &proxy):
		return herald.ReasonProxy, proxy.Error() + ", or the receiver did: the proxy makes no tunnels for http, and the answer has no Via that shows whose it is"
	case errors.As(err, &proxy):
		return herald.ReasonProxy, proxy.Error() + " to the connection; the receiver was not called"
	case errors.As(err, &dns):
		return herald.ReasonDNS, dnsText(dns)
	case errors.Is(err, egress.ErrConnectTimeout):
		return herald.ReasonConnectTimeout, fmt.Sprintf("no answer to the connection within %v", egress.DefaultConnectTimeout)
	case errors.Is(err, context.DeadlineExceeded):
		return herald.ReasonTimeout, fmt.Sprintf("no response within %v (%s)", a.sender.Timeout, a.clock.phase())
	case errors.Is(err, os.ErrDeadlineExceeded), hasText(err, "http2: client connection lost"):
		return herald.ReasonTimeout, "the receiver's connection stopped working: it took no bytes, or did not answer a ping of HTTP/2"
	case errors.As(err, &certificate):
		return herald.ReasonTLS, certificateText(certificate)
	case errors.Is(err, errHeaderValue):
		return herald.ReasonProtocol, errHeaderValue.Error() + "; nothing was sent"
	case errors.Is(err, errHandshake):
		return herald.ReasonTLS, errHandshake.Error()
	case errors.As(err, &record):
		return herald.ReasonTLS, "the receiver does not speak TLS on this port"
	case errors.As(err, &alert), hasText(err, "tls: "), hasText(err, "TLS handshake"):
		return herald.ReasonTLS, "the TLS handshake failed: " + plainText(err)
	case isDial(err) && errors.Is(err, syscall.ECONNREFUSED):
		return herald.ReasonConnectRefused, "the connection was refused"
	case isDial(err):
		return herald.ReasonConnect, "no connection: " + plainText(err)
	case isReset(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return herald.ReasonReset, "the connection broke before a response; the receiver may have taken the request"
	default:
		return herald.ReasonProtocol, "the response is not HTTP, or exceeds a limit: " + plainText(err)
	}
}

// localFault returns a sentence about a fault of this service that kept the request from being sent,
// or "". After a redirect, or on a second connection, a receiver may have got the request already.
func (a *attempt) localFault(err error) string {
	var proxy *net.OpError
	switch {
	case len(a.hops) > 0 || a.redialled:
		return ""
	case errors.As(err, &proxy) && proxy.Op == "proxyconnect":
		return "this service cannot reach its egress proxy"
	default:
		return localfault.Text(err)
	}
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

func dnsText(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return fmt.Sprintf("the name %s does not exist", err.Name)
	case err.IsTimeout:
		return fmt.Sprintf("the name %s was not resolved in time", err.Name)
	default:
		return fmt.Sprintf("the name %s could not be resolved: %s", err.Name, err.Err)
	}
}

func certificateText(err *tls.CertificateVerificationError) string {
	var (
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the receiver's certificate has expired or is not valid yet: " + invalid.Detail
	case errors.As(err, &host):
		return "the receiver's certificate is for another host: " + host.Error()
	case errors.As(err, &unknown):
		return "the receiver's certificate is signed by an unknown authority: " + unknown.Error()
	default:
		return "the receiver's certificate cannot be verified: " + err.Err.Error()
	}
}

// plainText returns the text of the innermost error. The outer ones add the addresses of sockets.
func plainText(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return printable(err.Error())
}

// isClosed reports whether an error says that the receiver closed the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) || hasText(err, "server closed idle connection")
}

// hasText is the only place of this package that matches the text of an error: net/http and crypto/tls export
// neither types nor values for these.
func hasText(err error, text string) bool { return strings.Contains(err.Error(), text) }
