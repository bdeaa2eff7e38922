// Package dns is a name server for tests. It gives a test a net.Resolver that asks a function of
// the test, over a socket.
package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is the answer to a question. A Code other than 0 is an error (RFC 1035, section 4.1.1): 2
// is SERVFAIL, 3 is NXDOMAIN. Silent means no answer at all.
type Answer struct {
	Addrs  []netip.Addr
	Code   dnsmessage.RCode
	Silent bool
}

// Resolver returns a resolver that asks answer. The name is in lower case and without its last dot.
// The resolver stops with the test.
func Resolver(t testing.TB, answer func(name string) Answer) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		question := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(question)
			if err != nil {
				return
			}
			if reply := respond(question[:n], answer); reply != nil {
				_, _ = server.WriteTo(reply, from) // the resolver asks again if this fails
			}
		}
	}()
	// A look-up continues after its caller's timeout. It ends when its sockets are closed.
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		server.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		if err == nil {
			context.AfterFunc(ctx, func() { c.Close() })
		}
		return c, err
	}}
}

// respond returns the reply to one question, nil for none.
func respond(question []byte, answer func(string) Answer) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	a := answer(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")))
	if a.Silent {
		return nil
	}
	m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, a.Code, nil
	for _, addr := range a.Addrs {
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}
