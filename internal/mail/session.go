package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// session is a connection to the mail server, ready for mails. It is not safe for concurrent use.
type session struct {
	server   *Server
	timeouts Timeouts
	conn     net.Conn // raw, or TLS over it
	raw      *boundedConn
	in       *bufio.Reader
	// offers are the server's extensions, with their parameters, in upper case.
	offers map[string]string
	opened time.Time
	mails  int  // that were begun
	broken bool // takes no more commands
}

// openSession connects, and says hello as name. The error is a *failure.
func openSession(ctx context.Context, server *Server, timeouts Timeouts, name string) (*session, error) {
	s := &session{server: server, timeouts: timeouts, opened: time.Now()}
	dial, cancel := context.WithTimeout(ctx, timeouts.Connect)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(dial, "tcp", server.address())
	if err != nil {
		return nil, &failure{step: atConnect, err: err}
	}
	s.raw = &boundedConn{Conn: conn}
	s.use(s.raw)
	defer context.AfterFunc(ctx, s.close)() // closing ends a read that waits
	if err := s.start(ctx, name); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// use makes conn the connection of the following commands.
func (s *session) use(conn net.Conn) { s.conn, s.in = conn, bufio.NewReader(conn) }

func (s *session) close() { _ = s.raw.Close() } // an error means that it is closed

func (s *session) start(ctx context.Context, name string) error {
	if s.server.implicit {
		if err := s.encrypt(ctx); err != nil {
			return err
		}
	}
	s.deadline(s.timeouts.Greeting)
	if _, err := s.expect(atGreeting, 2); err != nil {
		return err
	}
	if err := s.hello(name); err != nil {
		return err
	}
	if !s.server.implicit && !s.server.plain {
		if _, offered := s.offers["STARTTLS"]; !offered {
			return &failure{step: atStartTLS, err: errors.New("the mail server does not offer STARTTLS; without ?tls=none it is demanded")}
		}
		if _, err := s.command(atStartTLS, s.timeouts.Hello, "STARTTLS", 2); err != nil {
			return err
		}
		if s.in.Buffered() > 0 { // someone put it in before the encryption (RFC 3207 section 6)
			return &failure{step: atStartTLS, err: fmt.Errorf("%w: it goes on in plain text after its reply to STARTTLS", errNotSMTP)}
		}
		if err := s.encrypt(ctx); err != nil {
			return err
		}
		if err := s.hello(name); err != nil {
			return err
		}
	}
	if s.server.user == "" {
		return nil
	}
	return s.login()
}

func (s *session) encrypt(ctx context.Context) error {
	s.deadline(s.timeouts.Hello)
	encrypted := tls.Client(s.raw, &tls.Config{ServerName: s.server.host, MinVersion: tls.VersionTLS12})
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return &failure{step: atStartTLS, err: err}
	}
	s.use(encrypted)
	return nil
}

// hello says who is there. A server that knows no EHLO gets HELO, unless it must have extensions.
func (s *session) hello(name string) error {
	r, err := s.command(atHello, s.timeouts.Hello, "EHLO "+name, 2)
	refused := (*failure)(nil)
	if errors.As(err, &refused) && refused.reply.code/100 == 5 && s.server.user == "" && (s.server.plain || s.server.implicit) {
		s.offers = nil
		_, err = s.command(atHello, s.timeouts.Hello, "HELO "+name, 2)
		return err
	}
	if err != nil {
		return err
	}
	s.offers = make(map[string]string)
	for _, line := range strings.Split(strings.ToUpper(r.text), "\n")[1:] { // the first one has the server's name
		keyword, parameters, _ := strings.Cut(line, " ")
		s.offers[keyword] = parameters
	}
	return nil
}

// envelope is a mail as the server gets it. The mailboxes are in ASCII, and the message ends with
// finalDot.
type envelope struct {
	from, to string
	message  []byte
}

// transact sends a mail. If the server accepts it, the reply says so. Otherwise the error is a
// *failure. The server's reply decides, whatever comes after it.
func (s *session) transact(m envelope) (reply, error) {
	s.mails++
	if _, err := s.command(atMail, s.timeouts.Mail, "MAIL FROM:<"+m.from+">", 2); err != nil {
		return reply{}, err
	}
	if _, err := s.command(atRcpt, s.timeouts.Rcpt, "RCPT TO:<"+m.to+">", 2); err != nil {
		return reply{}, err
	}
	if _, err := s.command(atData, s.timeouts.Data, "DATA", 3); err != nil {
		return reply{}, err
	}
	return s.send(m.message)
}

// finalDot ends a message, after the end of its last line.
const finalDot = ".\r\n"

// blockSize is how much of a message is written at once, in bytes.
const blockSize = 32 << 10

// send sends a message that ends with finalDot. Its first reply counts, also one that comes before
// the final dot: a server may refuse a message early. A server that accepts before the final dot is
// out of step; the dot is not sent, so it must drop the message (RFC 5321 section 4.1.1.4).
func (s *session) send(message []byte) (reply, error) {
	if s.in.Buffered() > 0 {
		return s.refusal(atContent, errNotSMTP)
	}
	_ = s.conn.SetReadDeadline(time.Time{}) // the writes have deadlines
	replies := make(chan error, 1)
	go func() {
		_, err := s.in.Peek(1)
		replies <- err
	}()
	at, limit := atContent, s.timeouts.Block
	for rest := message; len(rest) > 0 && len(replies) == 0; {
		block := rest[:min(len(rest), blockSize)]
		if len(rest) > len(finalDot) {
			block = rest[:min(len(block), len(rest)-len(finalDot))] // the dot is a block of its own
		} else {
			at, limit = atEnd, s.timeouts.End
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(limit))
		if n, err := s.conn.Write(block); err != nil {
			return s.lastReply(at, replies, fmt.Errorf("%w (%d bytes were not sent)", err, len(rest)-n))
		}
		rest = rest[len(block):]
	}
	s.deadline(limit)
	if err := <-replies; err != nil {
		return reply{}, &failure{step: at, err: err}
	}
	if at == atContent {
		return s.refusal(at, errNotSMTP)
	}
	return s.expect(atEnd, 2)
}

// lastReply returns what the server said before it broke the connection, or else the error of the
// write.
func (s *session) lastReply(at step, replies <-chan error, err error) (reply, error) {
	s.deadline(afterBreak)
	if <-replies != nil {
		return reply{}, &failure{step: at, err: err}
	}
	return s.refusal(at, err)
}

// refusal reads a reply that came too early or after a failed write. Only a refusal counts.
func (s *session) refusal(at step, otherwise error) (reply, error) {
	s.deadline(afterBreak)
	if r, _ := readReply(s.in); r.refusal() {
		s.broken = true
		return reply{}, &failure{step: at, reply: r}
	}
	return reply{}, &failure{step: at, err: otherwise}
}

// command sends a command and returns its reply, whose code must begin with one of classes. The error
// is a *failure.
func (s *session) command(at step, limit time.Duration, text string, classes ...int) (reply, error) {
	if s.in.Buffered() > 0 { // it would be taken for the reply to this command
		return s.refusal(at, fmt.Errorf("%w: it came before the command", errNotSMTP))
	}
	s.deadline(limit)
	if _, err := s.conn.Write([]byte(text + "\r\n")); err != nil {
		return s.refusal(at, err)
	}
	return s.expect(at, classes...)
}

// expect reads the reply to a step, whose code must begin with one of classes. Of a reply that breaks
// off, the code counts where it decides about the mail.
func (s *session) expect(at step, classes ...int) (reply, error) {
	r, err := readReply(s.in)
	if err != nil && (r.refusal() || at == atEnd && r.positive()) {
		s.broken, err = true, nil
	}
	switch {
	case err != nil:
		return reply{}, &failure{step: at, err: err}
	case r.refusal():
		return reply{}, &failure{step: at, reply: r}
	case !slices.Contains(classes, r.code/100):
		return reply{}, &failure{step: at, err: fmt.Errorf("%w: %.100q is no answer to %s", errNotSMTP, r.String(), at)}
	default:
		return r, nil
	}
}

func (s *session) deadline(limit time.Duration) { _ = s.conn.SetDeadline(time.Now().Add(limit)) } // fails only if it is closed

// isClean asks the server to drop what is left of a transaction, and reports whether it says that it
// has. So it also finds out whether the connection is still open.
func (s *session) isClean(limit time.Duration) bool {
	_, err := s.command(atReset, limit, "RSET", 2)
	return err == nil
}

// quit ends the session politely. It waits for the server's reply for a short time only.
func (s *session) quit() {
	s.deadline(quitTimeout)
	if _, err := s.conn.Write([]byte("QUIT\r\n")); err == nil {
		_, _ = readReply(s.in) // whatever it is
	}
	s.close()
}

// dotted returns a message as it is sent: lines that end in CRLF, a dot before each dot that begins a
// line (RFC 5321 section 4.5.2), and finalDot.
func dotted(message io.WriterTo) ([]byte, error) {
	var buffer bytes.Buffer
	lines := bufio.NewWriter(&buffer)
	out := textproto.NewWriter(lines).DotWriter()
	_, err := message.WriteTo(out)
	err = errors.Join(err, out.Close(), lines.Flush())
	return buffer.Bytes(), err
}
