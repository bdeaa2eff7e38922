package webhook

import (
	"net"
	"net/url"

	"herald/internal/egress"
)

// maxTargets bounds how many addresses are remembered.
const maxTargets = 1024

// target is an address that is called. Attempts share it, so nobody changes it.
type target struct {
	*url.URL
	text     string // as it is sent
	origin   string
	address  string // host:port
	receiver receiver
	// wire is the start of a request over HTTP/1.1, to the value of Content-Length.
	wire []byte
}

// target reads an address. It is remembered, because most addresses are called again.
func (s *Sender) target(address string) (*target, error) {
	if known, has := s.known.targets.get(address); has {
		return known, nil
	}
	u, err := egress.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	made := s.targetOf(u)
	if len(address) <= maxMadeFrom {
		s.known.targets.set(address, made)
	}
	return made, nil
}

// targetOf returns the target of a URL of package egress.
func (s *Sender) targetOf(u *url.URL) *target {
	wire := "POST " + egress.RequestURI(u) + " HTTP/1.1\r\nHost: " + u.Host
	if s.UserAgent != "" {
		wire += "\r\nUser-Agent: " + s.UserAgent
	}
	return &target{
		URL: u, text: egress.Text(u), origin: originOf(u), address: addressOf(u), receiver: receiverOf(u),
		wire: []byte(wire + "\r\nContent-Length: "),
	}
}

// addressOf returns the host and the port of an address.
func addressOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
