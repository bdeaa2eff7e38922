package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"herald"
	"herald/internal/localfault"
)

// step is a step of the dialogue with the mail server.
type step int

const (
	atConnect step = iota
	atGreeting
	atHello
	atStartTLS // the command and the handshake
	atLogin
	atReset
	atMail
	atRcpt
	atData
	atContent
	atEnd // from the first byte of the final dot on, the server may have taken the mail
)

var stepNames = [...]string{"the connection", "the greeting", "EHLO", "STARTTLS", "the login", "RSET", "MAIL FROM", "RCPT TO", "DATA", "the message", "the end of the message"}

func (s step) String() string { return stepNames[s] }

// failure says at which step the server did not accept a mail, and with what: its reply, or else an
// error.
type failure struct {
	step  step
	reply reply
	err   error
}

// Error returns a sentence without the addresses of the connection.
func (f *failure) Error() string {
	text := ""
	var op *net.OpError
	switch {
	case f.reply.code != 0 && f.step == atGreeting:
		text = fmt.Sprintf("the mail server's greeting is %s", f.reply)
	case f.reply.code != 0:
		text = fmt.Sprintf("the mail server answered %s with %s", f.step, f.reply)
	case isTimeout(f.err):
		text = fmt.Sprintf("the mail server did not answer in time at %s", f.step)
	case errors.As(f.err, &op) && op.Op != "dial":
		text = fmt.Sprintf("at %s: %v", f.step, op.Err)
	default:
		text = fmt.Sprintf("at %s: %v", f.step, f.err)
	}
	if f.maybeSent() {
		text += "; the mail may have been sent"
	}
	return text
}

func (f *failure) Unwrap() error { return f.err }

// failureOf returns the failure in an error of a session, nil if there is none.
func failureOf(err error) (f *failure) {
	errors.As(err, &f)
	return f
}

// maybeSent reports whether the server may have taken the mail.
func (f *failure) maybeSent() bool { return f.step == atEnd && !f.reply.refusal() }

// outOfStep reports whether the server's reply shows that it and this service disagree about what
// comes next (503). That is no fault of the mail.
func (f *failure) outOfStep() bool { return f.reply.code == 503 }

// ofMail reports whether the server's reply decides about this mail. Any other failure concerns the
// connection: a reply before MAIL, a 503, a refusal of the name in EHLO that comes late, or the demand for a
// login or for TLS (RFC 4954 section 6, RFC 3207 section 4).
func (f *failure) ofMail() bool {
	switch f.reply.code {
	case 503, 504, 530, 534, 535, 538:
		return false
	default:
		return f.step >= atMail && f.reply.refusal() && !f.reply.refusesName()
	}
}

// again reports whether the mail is tried once more at once on a new connection. used is true if this
// connection carried a mail before. Then the server may refuse the connection and not the mail, or
// have closed it. What the server may have taken is not sent again, and silence is not answered with
// more of it.
func (f *failure) again(used bool) bool {
	switch {
	case f.maybeSent():
		return false
	case f.outOfStep():
		return true
	case !used:
		return false
	case f.reply.code == 0:
		return !isTimeout(f.err)
	default:
		return f.reply.code/100 == 4 || !f.ofMail() || f.mayBeOfSession()
	}
}

// mayBeOfSession reports whether a final refusal can be one of the session: of one mail too many on the
// connection, for example. One of MAIL names no recipient. One of RCPT or DATA is of the mail if its
// enhanced status is about an address, a mailbox or a message (RFC 3463 section 3). Without such a
// status, RCPT has three codes that are about the mailbox. 552 is not one of them: servers give it for
// too many recipients (RFC 5321 section 4.5.3.1.10). A refusal of the message itself has read it.
func (f *failure) mayBeOfSession() bool {
	if f.reply.code/100 != 5 {
		return false
	}
	subject := f.reply.subject()
	switch f.step {
	case atMail:
		return true
	case atRcpt:
		return subject > 2 && subject != 6 || subject == 0 && f.reply.code != 550 && f.reply.code != 551 && f.reply.code != 553
	case atData:
		return subject > 2 && subject != 6 || subject == 0
	default:
		return false
	}
}

// keeps reports whether the connection can be used again. The next user resets it first.
func (f *failure) keeps() bool { return f.ofMail() && f.reply.code != 421 }

// result returns the result of an attempt that failed. ctx is the attempt's.
func (f *failure) result(ctx context.Context) Result {
	if f.ofMail() {
		return Result{Status: f.reply.code, Reason: herald.ReasonStatus, Error: clean(f.Error())}
	}
	switch local := localfault.Text(f.err); {
	case ctx.Err() != nil && f.maybeSent():
		return Result{Reason: herald.ReasonInterrupted, Error: "the service stopped before the mail server had answered; the mail may have been sent"}
	case ctx.Err() != nil:
		return Result{Reason: herald.ReasonInterrupted, Error: "the service stopped before the whole mail was sent"}
	case local != "":
		return Result{Reason: herald.ReasonLocal, Error: local + "; nothing was sent"}
	default:
		return Result{Reason: f.reason(), Error: clean(f.Error())}
	}
}

// reason returns why a mail was not accepted if no reply decided about it.
func (f *failure) reason() herald.Reason {
	var dns *net.DNSError
	switch {
	case f.outOfStep(), errors.Is(f.err, errNotSMTP), errors.Is(f.err, errReplyTooLong):
		return herald.ReasonProtocol
	case errors.As(f.err, &dns):
		return herald.ReasonDNS
	case f.step == atConnect && isTimeout(f.err):
		return herald.ReasonConnectTimeout
	case isTimeout(f.err):
		return herald.ReasonTimeout
	case errors.Is(f.err, syscall.ECONNREFUSED):
		return herald.ReasonConnectRefused
	case f.step == atStartTLS:
		return herald.ReasonTLS
	case f.reply.code != 0, f.step == atConnect, f.step == atLogin && !isClosed(f.err):
		return herald.ReasonConnect
	default:
		return herald.ReasonReset
	}
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// afterBreak is how long a reply is waited for after a write has failed. A server that closes the
// connection has sent its reason before.
const afterBreak = time.Second
