// Package mail sends one alert, or one digest of alerts, to one mailbox. It renders the message and
// makes one SMTP transaction with the operator's mail server. internal/policy decides what the
// result means. internal/delivery decides when and how often to try.
//
// message.go, digest.go and confirm.go render with go-mail. session.go has the SMTP dialogue, with
// go-mail's mechanisms of login (login.go). go-mail's own client does not say at which step a failure
// came, reads no reply after a write has failed, and has one timeout for all. failure.go decides whom
// a failure concerns. pool.go has the connections.
package mail

import (
	"context"
	"fmt"
	"net/mail"
	"os"
	"time"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"

	"herald"
	"herald/internal/safetext"
	"herald/internal/work"
)

// Options configure a Sender.
type Options struct {
	// Server accepts all mail. If it is nil, there is none, and deliveries fail at once.
	Server *Server
	// From is the sender's mailbox, with or without a name.
	From mail.Address
	// Unsubscribe returns the link with which the reader of a mailbox stops a client's mail. If it
	// is nil, mails have no such link.
	Unsubscribe func(client uuid.UUID, box string) string
	// Confirm returns the link with which the reader of a mailbox confirms that it takes a client's
	// mail. It is required for a Request that asks for that.
	Confirm func(client uuid.UUID, box string) string
	// PublicURL is where people reach the service. If it is empty, mails have no links.
	PublicURL string
	// Timeouts bound the steps of the dialogue with the server.
	Timeouts Timeouts
	// Hello is the name that EHLO tells the server, as ParseHello returns it. If it is empty, it is
	// the machine's name, or the domain of From if that name is not fully qualified.
	Hello string
	// Product is the value of the User-Agent header.
	Product string
}

// Sender sends mails over a few connections and keeps them open for a while. It is safe for
// concurrent use.
type Sender struct {
	Options
	pool *pool
}

// New returns a Sender. It connects when there is something to send. It fails if nobody could send
// mail from Options.From.
func New(o Options) (*Sender, error) {
	s := &Sender{Options: o}
	if o.Server == nil {
		return s, nil
	}
	from, err := herald.ParseMailbox(o.From.Address)
	if err != nil {
		return nil, fmt.Errorf("the sender of mail: %w", err)
	}
	s.From.Address = from
	if o.Hello == "" {
		machine, _ := os.Hostname() // without a name the sender's domain is used
		s.Hello = defaultHello(machine, from)
	}
	timeouts := o.Timeouts.withDefaults()
	s.pool = newPool(func(ctx context.Context) (*session, error) { return openSession(ctx, o.Server, timeouts, s.Hello) })
	return s, nil
}

// Close closes the idle connections. It takes at most quitTimeout.
func (s *Sender) Close() {
	if s.pool != nil {
		s.pool.close()
	}
}

// Request is one message.
type Request struct {
	DeliveryID uuid.UUID
	ClientID   uuid.UUID
	Mailbox    string
	// Body is the alert, as the body of a webhook. If Data is not nil, that body is Body, Data and
	// a closing brace.
	Body, Data []byte
	RaisedAt   time.Time
	// Digest lists the alerts of a digest, and is nil for a single alert. The Body of a digest is
	// that of its first alert.
	Digest []work.DigestEntry
	// AskToConfirm makes the message ask the reader to confirm, and show nothing of the alert.
	AskToConfirm bool
}

// Result is the result of a transaction. Status is the code of the server's reply that decided about
// the mail, 0 if there was none.
type Result struct {
	Status     int
	Reason     herald.Reason
	Error      string
	RetryAfter string // always empty: SMTP has no such value
	Timings    herald.Timings
	Request    *herald.RequestRecord
	Response   *herald.ResponseRecord
	// Wait is more than 0 if ctx ended while the mail waited for a connection. Then there was no
	// attempt, and nothing else is set.
	Wait time.Duration
}

// notBegun is the Wait of a mail that did not get a connection before its context ended.
const notBegun = time.Second

// Send makes the transaction. A refusal by the server is a Result too, not an error. If ctx ends
// before the server's reply has decided, the Reason is ReasonInterrupted.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	if s.Server == nil {
		return Result{Reason: herald.ReasonNoMailServer, Error: "No mail server is configured (--smtp)."}
	}
	leave, err := s.pool.enter(ctx)
	if err != nil {
		return Result{Wait: notBegun}
	}
	defer leave()
	// Few messages are rendered at once, because decoded data takes many times its size.
	to, err := herald.ParseMailbox(r.Mailbox)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: err.Error()}
	}
	message, err := s.message(r, to)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: err.Error()}
	}
	text, err := dotted(message)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: err.Error()}
	}
	began := time.Now()
	answer, redialled, err := s.pool.send(ctx, envelope{s.From.Address, to, text})
	result := Result{Status: answer.code}
	if failed := failureOf(err); failed != nil {
		answer, result = failed.reply, failed.result(ctx)
	}
	result.Timings.Total = float64(time.Since(began).Microseconds()) / 1000
	result.Request = record(s.Server, r, message)
	result.Request.Redialled = redialled
	if result.Status != 0 {
		result.Response = &herald.ResponseRecord{Body: clean(answer.text)}
	}
	return result
}

// record returns what an attempt records of a message.
func record(server *Server, r Request, m *gomail.Msg) *herald.RequestRecord {
	headers := map[string]string{"To": r.Mailbox, "Message-ID": m.GetMessageID()}
	if subject := m.GetGenHeader(gomail.HeaderSubject); len(subject) > 0 {
		headers["Subject"] = subject[0]
	}
	return &herald.RequestRecord{Method: "SMTP", URL: server.String(), Headers: headers}
}

// clean makes a server's text fit to be stored and shown.
func clean(text string) string { return safetext.Clean(text, maxReplyText) }
