// Package mail sends one alert, or one digest of alerts, to one mailbox. It renders the message and
// makes one SMTP transaction with the operator's mail server. internal/policy decides what the
// result means. internal/delivery decides when and how often to try.
package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"syscall"
	"time"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"

	"herald"
	"herald/internal/localfault"
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
	// Timeout bounds a transaction, including the set-up of the connection.
	Timeout time.Duration
	// Product is the value of the User-Agent header.
	Product string
}

// Sender sends mails over a few connections and keeps them open for a while. It is safe for
// concurrent use.
type Sender struct {
	Options
	pool *pool
}

// New returns a Sender. It connects when there is something to send.
func New(o Options) (*Sender, error) {
	s := &Sender{Options: o}
	if o.Server == nil {
		return s, nil
	}
	client, err := o.Server.client(o.Timeout)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	s.pool = newPool(client)
	return s, nil
}

// Close closes the idle connections.
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

// Result is the result of a transaction. Status is the reply code of a server that refused the
// message, or 250 if it accepted the message.
type Result struct {
	Status     int
	Reason     herald.Reason
	Error      string
	RetryAfter string // always empty: SMTP has no such value
	Timings    herald.Timings
	Request    *herald.RequestRecord
	Response   *herald.ResponseRecord
	Wait       time.Duration // always 0: the mail server has no limit here
}

// Send makes the transaction. A refusal by the server is a Result too, not an error. If ctx ends,
// the Reason is ReasonInterrupted.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	if s.Server == nil {
		return Result{Reason: herald.ReasonNoMailServer, Error: "No mail server is configured (--smtp)."}
	}
	leave, err := s.pool.enter(ctx)
	if err != nil {
		return Result{Reason: herald.ReasonInterrupted, Error: err.Error()}
	}
	defer leave()
	// Few messages are rendered at once, because decoded data takes many times its size.
	message, err := s.message(r)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: err.Error()}
	}
	// The timeout starts after the wait for a place, because that wait is not the server's fault.
	deadline, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	began := time.Now()
	err = s.pool.send(deadline, message)
	result := classify(ctx, deadline, err)
	result.Timings.Total = float64(time.Since(began).Microseconds()) / 1000
	result.Request = record(s.Server, r, message)
	if err == nil {
		result.Response = &herald.ResponseRecord{Body: clean(message.ServerResponse())}
	}
	return result
}

// classify returns the result for an error of a transaction. A reply with a code concerns this
// message. Any failure before that concerns the server and is temporary.
func classify(outer, deadline context.Context, err error) Result {
	var (
		refused *gomail.SendError
		reply   *textproto.Error
		dns     *net.DNSError
		network *net.OpError
	)
	if err == nil {
		return Result{Status: 250}
	}
	result := Result{Error: clean(err.Error())}
	switch {
	case outer.Err() != nil:
		result.Reason = herald.ReasonInterrupted
	case localfault.Text(err) != "":
		result.Reason, result.Error = herald.ReasonLocal, localfault.Text(err)+"; nothing was sent"
	case errors.As(err, &refused) && refused.ErrorCode() > 0:
		result.Status, result.Reason = refused.ErrorCode(), herald.ReasonStatus
	case errors.Is(err, errReplyTooLong):
		result.Reason = herald.ReasonProtocol
	case deadline.Err() != nil, isTimeout(err):
		result.Reason = herald.ReasonTimeout
	case errors.As(err, &dns):
		result.Reason = herald.ReasonDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		result.Reason = herald.ReasonConnectRefused
	case isTLS(err):
		result.Reason = herald.ReasonTLS
	case errors.As(err, &reply): // a reply to the greeting or the login, not to the message
		result.Reason = herald.ReasonConnect
	case errors.As(err, &network) && network.Op == "dial":
		result.Reason = herald.ReasonConnect
	default:
		result.Reason = herald.ReasonReset
	}
	return result
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
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
