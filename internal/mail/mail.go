// Package mail sends one alert to one mailbox: it renders the message and makes
// one SMTP transaction with the operator's mail server. Whether and when it is
// tried again is decided elsewhere (internal/policy, internal/delivery).
package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"herald"
	"herald/internal/work"
)

// Options say which server takes mail, and how it looks.
type Options struct {
	// Server takes all mail; nil: there is none, and deliveries fail at once.
	Server *Server
	// From is the sender's mailbox, with or without a name.
	From mail.Address
	// Unsubscribe returns the link by which a mailbox's reader stops a client's
	// mail; nil: mails have none.
	Unsubscribe func(client uuid.UUID, box string) string
	// PublicURL is where people reach the service, for links; empty: no links.
	PublicURL string
	// Timeout bounds a transaction, the connection included.
	Timeout time.Duration
	// Product is named in User-Agent.
	Product string
}

// Sender sends mails over a few connections, which are kept open for a while. It
// is safe for concurrent use.
type Sender struct {
	Options
	pool *pool
}

// New returns a Sender that does not connect until it has something to send.
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

// Close closes the connections that are kept open.
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
	Body       []byte // the alert, as a webhook would have it
	RaisedAt   time.Time
	// Digest are the alerts that the message sums up, if it is a digest; Body
	// is the first one's then.
	Digest []work.DigestEntry
}

// Result is what a transaction came to. Status is the server's reply code when
// it refused the message, 250 when it took it.
type Result struct {
	Status     int
	Reason     herald.Reason
	Error      string
	RetryAfter string // never set: SMTP has no such thing
	Timings    herald.Timings
	Request    *herald.RequestRecord
	Response   *herald.ResponseRecord
}

// Send makes the transaction. What the server refuses is a Result like any
// other; when ctx ends, its Reason is ReasonInterrupted.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	if s.Server == nil {
		return Result{Reason: herald.ReasonNoMailServer, Error: "No mail server is configured (--smtp)."}
	}
	message, err := s.message(r)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: err.Error()}
	}
	leave, err := s.pool.enter(ctx)
	if err != nil {
		return Result{Reason: herald.ReasonInterrupted, Error: err.Error()}
	}
	defer leave()
	// The wait for a place is not the server's, and has its own time.
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

// classify says what an error of a transaction means. A reply is about this
// message; everything before it is trouble with the server, which passes.
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
	case errors.As(err, &refused) && refused.ErrorCode() > 0:
		result.Status, result.Reason = refused.ErrorCode(), herald.ReasonStatus
	case deadline.Err() != nil, isTimeout(err):
		result.Reason = herald.ReasonTimeout
	case errors.As(err, &dns):
		result.Reason = herald.ReasonDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		result.Reason = herald.ReasonConnectRefused
	case isTLS(err):
		result.Reason = herald.ReasonTLS
	case errors.As(err, &reply): // to the greeting or the login: nothing of the message's
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

// ascii returns a mailbox with an ASCII domain, as it stands in a message.
func ascii(box string) (string, error) {
	parsed, err := mail.ParseAddress(box)
	at := strings.LastIndexByte(box, '@')
	if err != nil || parsed.Name != "" || parsed.Address != box || at < 0 {
		return "", fmt.Errorf("%.200q is not the address of a mailbox", box)
	}
	domain, err := idna.Lookup.ToASCII(box[at+1:])
	if err != nil {
		return "", fmt.Errorf("the domain of the mailbox %.200q: %w", box, err)
	}
	return box[:at+1] + domain, nil
}

// record is what of a message an attempt keeps.
func record(server *Server, r Request, m *gomail.Msg) *herald.RequestRecord {
	headers := map[string]string{"To": r.Mailbox, "Message-ID": m.GetMessageID()}
	if subject := m.GetGenHeader(gomail.HeaderSubject); len(subject) > 0 {
		headers["Subject"] = subject[0]
	}
	return &herald.RequestRecord{Method: "SMTP", URL: server.String(), Headers: headers}
}

// clean makes what a server said fit to be kept and shown.
func clean(text string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return ' '
		}
		return r
	}, text), "\ufffd")
}
