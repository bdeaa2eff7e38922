package mail

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
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

func (s *Server) client(timeout time.Duration) (*gomail.Client, error) {
	options := []gomail.Option{gomail.WithPort(s.port), gomail.WithTimeout(timeout), gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithDialContextFunc(s.dial)}
	if s.implicit { // dial returns a connection that is encrypted already
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if s.plain {
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.user != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.user), gomail.WithPassword(s.password))
	}
	return gomail.NewClient(s.host, options...)
}

// isTLS reports whether an error concerns the server's certificate, the handshake, or a server
// without STARTTLS. For the last go-mail has only a text.
func isTLS(err error) bool {
	var (
		record      tls.RecordHeaderError
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		unknown     x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.As(err, &record) || errors.As(err, &certificate) || errors.As(err, &alert) || errors.As(err, &unknown) || errors.As(err, &host) ||
		strings.Contains(err.Error(), "does not support STARTTLS")
}
