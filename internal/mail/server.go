package mail

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Server is a mail server that accepts messages for all destinations (a submission server, RFC
// 6409).
type Server struct {
	host           string
	port           int
	user, password string
	implicit       bool // TLS from the first byte (RFC 8314)
	plain          bool // no TLS at all
}

// ParseServer reads the address of a server. smtp://user:password@host:587 requires STARTTLS unless
// it has ?tls=none. smtps://user:password@host:465 uses TLS from the first byte. Errors do not
// contain the password.
func ParseServer(address string) (*Server, error) {
	const want = "want smtp://user:password@host:587, smtps://user:password@host:465, or smtp://host:25?tls=none"
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address is not a URL; " + want)
	}
	s := &Server{host: u.Hostname(), user: u.User.Username(), implicit: u.Scheme == "smtps"}
	s.password, _ = u.User.Password()
	query := u.Query()
	s.plain = query.Get("tls") == "none"
	query.Del("tls")
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps", s.host == "", strings.Trim(u.Path, "/") != "", len(query) > 0:
		return nil, errors.New(want)
	case u.Query().Has("tls") && !s.plain:
		return nil, fmt.Errorf("tls=%.50q: none is the only choice; without it TLS is required", u.Query().Get("tls"))
	case s.plain && s.implicit:
		return nil, errors.New("smtps and tls=none contradict each other; leave out tls=none, or use smtp")
	case s.plain && s.user != "":
		return nil, errors.New("tls=none would send the password in plain text; leave the user out, or tls=none")
	}
	s.port = 587
	if s.implicit {
		s.port = 465
	}
	if text := u.Port(); text != "" {
		if s.port, err = strconv.Atoi(text); err != nil || s.port < 1 || s.port > 65535 {
			return nil, fmt.Errorf("port %.20q: want 1 to 65535", text)
		}
	}
	return s, nil
}

// String returns the address without the user and the password.
func (s *Server) String() string {
	scheme := "smtp://"
	if s.implicit {
		scheme = "smtps://"
	}
	return scheme + s.host + ":" + strconv.Itoa(s.port)
}

// address returns host:port.
func (s *Server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }
