// Package localfault tells faults of this side of a connection from those of the other: a machine
// without descriptors, memory, ports or a route, or whose own name server does not answer. Such an
// attempt sends nothing, and says nothing about the receiver.
package localfault

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// Text returns a sentence about a fault of this side that kept a connection from being made, or "" if
// err is anything else. An error after the connection was made is never such a fault: something may
// have been sent.
func Text(err error) string {
	var (
		dns  *net.DNSError
		dial *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return nameServer(dns)
	case errors.As(err, &dial) && dial.Op == "dial":
		return connecting(dial)
	default:
		return ""
	}
}

// shortages are the errors of a machine that has run out of something.
var shortages = []struct {
	errno syscall.Errno
	text  string
}{
	{syscall.EMFILE, "this service has no free file descriptors"},
	{syscall.ENFILE, "the machine of this service has no free file descriptors"},
	{syscall.ENOBUFS, "the machine of this service has no free memory for connections"},
	{syscall.ENOMEM, "the machine of this service has no free memory for connections"},
}

func connecting(err *net.OpError) string {
	for _, s := range shortages {
		if errors.Is(err, s.errno) {
			return s.text
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		// Without an IPv6 address of its own, Linux says the same about every IPv6 receiver.
		if remote, ok := err.Addr.(*net.TCPAddr); !ok || remote.IP.To4() == nil && !hasRoute("udp6") {
			return ""
		}
		return "the machine of this service has no free port for connections"
	case isUnreachable(err) && !hasRoute("udp4") && !hasRoute("udp6"):
		return "the machine of this service has no network route"
	default:
		return ""
	}
}

// nameServer returns a text if this service could not ask its name server, or is refused by it. What a
// name server finds out about a name, also that it finds out nothing, concerns the name: its owner
// could cause it. net.DNSError has only the text of the inner error.
func nameServer(err *net.DNSError) string {
	for _, s := range shortages {
		if strings.Contains(err.Err, s.errno.Error()) {
			return s.text
		}
	}
	for _, errno := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL} {
		if strings.Contains(err.Err, errno.Error()) {
			return "the name server of this service cannot be reached (" + errno.Error() + ")"
		}
	}
	return ""
}

func isUnreachable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

// hasRoute reports whether the machine has a route to the internet. Connecting a UDP socket sends
// nothing; the addresses are those for documentation (RFC 5737, RFC 3849).
func hasRoute(network string) bool {
	address := "192.0.2.1:9"
	if network == "udp6" {
		address = "[2001:db8::1]:9"
	}
	c, err := net.Dial(network, address)
	if err == nil {
		return c.Close() == nil
	}
	return !isUnreachable(err) && !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT)
}
