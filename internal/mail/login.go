package mail

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// mechanism is a way to log in.
type mechanism struct {
	name  string
	start func(s *Server, state *tls.ConnectionState) smtp.Auth
}

// mechanisms are those that are used, the best first.
var mechanisms = []mechanism{
	{"SCRAM-SHA-256-PLUS", func(s *Server, state *tls.ConnectionState) smtp.Auth {
		return smtp.ScramSHA256PlusAuth(s.user, s.password, state)
	}},
	{"SCRAM-SHA-256", func(s *Server, _ *tls.ConnectionState) smtp.Auth { return smtp.ScramSHA256Auth(s.user, s.password) }},
	{"SCRAM-SHA-1-PLUS", func(s *Server, state *tls.ConnectionState) smtp.Auth {
		return smtp.ScramSHA1PlusAuth(s.user, s.password, state)
	}},
	{"SCRAM-SHA-1", func(s *Server, _ *tls.ConnectionState) smtp.Auth { return smtp.ScramSHA1Auth(s.user, s.password) }},
	{"NTLM", func(s *Server, _ *tls.ConnectionState) smtp.Auth { return smtp.NTLMAuth(s.user, s.password, "") }},
	{"CRAM-MD5", func(s *Server, _ *tls.ConnectionState) smtp.Auth { return smtp.CRAMMD5Auth(s.user, s.password) }},
	{"PLAIN", func(s *Server, _ *tls.ConnectionState) smtp.Auth {
		return smtp.PlainAuth("", s.user, s.password, s.host, false)
	}},
	{"LOGIN", func(s *Server, _ *tls.ConnectionState) smtp.Auth {
		return smtp.LoginAuth(s.user, s.password, s.host, false)
	}},
}

// maxLoginRounds bounds a login. The longest one here, SCRAM, has four.
const maxLoginRounds = 8

// login logs in with the best mechanism that the server offers (RFC 4954). The error is a *failure,
// and has no part of the password.
func (s *session) login() error {
	offered := strings.Fields(s.offers["AUTH"])
	best := slices.IndexFunc(mechanisms, func(m mechanism) bool { return slices.Contains(offered, m.name) })
	if best < 0 {
		return &failure{step: atLogin, err: fmt.Errorf("the mail server offers no login that is known here (it offers %.100q); leave the user out of the address if it needs none", s.offers["AUTH"])}
	}
	var state *tls.ConnectionState
	encrypted, isTLS := s.conn.(*tls.Conn)
	if isTLS {
		now := encrypted.ConnectionState()
		state = &now
	}
	auth := mechanisms[best].start(s.server, state)
	name, answer, err := auth.Start(&smtp.ServerInfo{Name: s.server.host, TLS: isTLS, Auth: offered})
	if err != nil {
		return &failure{step: atLogin, err: err}
	}
	command := "AUTH " + name
	if len(answer) > 0 {
		command += " " + base64.StdEncoding.EncodeToString(answer)
	}
	for range maxLoginRounds {
		r, err := s.command(atLogin, s.timeouts.Hello, command, 2, 3)
		if err != nil {
			return err
		}
		challenge := []byte(r.text)
		if r.code/100 == 3 {
			if challenge, err = base64.StdEncoding.DecodeString(r.text); err != nil {
				return &failure{step: atLogin, err: fmt.Errorf("%w: its challenge is not base64", errNotSMTP)}
			}
		}
		if answer, err = auth.Next(challenge, r.code/100 == 3); err != nil {
			return &failure{step: atLogin, err: errors.New("the mail server does not log in as its mechanism " + name + " says")}
		}
		if r.code/100 == 2 {
			return nil
		}
		command = base64.StdEncoding.EncodeToString(answer)
	}
	return &failure{step: atLogin, err: errors.New("the mail server's login does not end")}
}
