package devinbox

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// ServeMail receives mail on a listener until the listener is closed. It has no TLS and
// accepts mail from everybody. Messages are handled like webhooks.
func (i *Inbox) ServeMail(listener net.Listener) error {
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{inbox: i}, nil }))
	server.Domain, server.MaxMessageBytes, server.MaxRecipients = "localhost", maxBody, 1
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	defer server.Close() // closes the open sessions; the listener is closed already
	err := server.Serve(listener)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

// session is one SMTP transaction.
type session struct {
	inbox *Inbox
	to    string
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	message, err := mail.ReadMessage(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: "this is not a mail message"}
	}
	text, err := json.Marshal(textOf(message))
	if err != nil {
		return err
	}
	headers := http.Header(message.Header)
	if subject, err := new(mime.WordDecoder).DecodeHeader(headers.Get("Subject")); err == nil {
		headers.Set("Subject", subject)
	}
	s.inbox.add(Received{At: time.Now(), To: s.to, Headers: headers, Body: text, Status: 250})
	return nil
}

// textOf returns a message's plain text.
func textOf(m *mail.Message) string {
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return decoded(m.Body, m.Header.Get("Content-Transfer-Encoding"))
	}
	for parts := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err != nil {
			return ""
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			return decoded(part, part.Header.Get("Content-Transfer-Encoding"))
		}
	}
}

func decoded(r io.Reader, encoding string) string {
	if strings.EqualFold(encoding, "quoted-printable") {
		r = quotedprintable.NewReader(r)
	}
	text, _ := io.ReadAll(r) // as much as can be read
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
