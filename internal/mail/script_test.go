package mail

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// trouble is what a scripted server does at a step instead of giving a good reply.
type trouble struct {
	send  []string // each is a write of its own
	close bool
	hang  bool // until the client closes the connection
}

// script is an SMTP server for which a test decides about each reply.
type script struct {
	tls  bool          // STARTTLS is offered, and a login after it
	deaf chan struct{} // not nil: nothing is read after DATA until it is closed

	mu       sync.Mutex
	at       func(session int, step string, n int) *trouble // n counts the step within its session
	sessions int
	names    []string // told by EHLO
	commands []string // with the number of the session
	taken    []string // the mailboxes of the mails that it may have taken
	from     string   // the last MAIL command
	last     string   // the last message
}

// start returns the server's address.
func (s *script) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.sessions++
			v := &scriptedSession{script: s, conn: c, number: s.sessions, seen: map[string]int{}}
			s.mu.Unlock()
			sessions.Go(v.run)
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	if s.tls {
		return "smtp://me:secret@" + l.Addr().String()
	}
	return "smtp://" + l.Addr().String() + "?tls=none"
}

// set changes what the server does.
func (s *script) set(at func(session int, step string, n int) *trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

// copies returns how many mails to a mailbox the server may have taken, and how many sessions began.
func (s *script) copies(box string) (copies, sessions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, to := range s.taken {
		if strings.Contains(to, box) {
			copies++
		}
	}
	return copies, s.sessions
}

type scriptedSession struct {
	*script
	conn   net.Conn
	number int
	seen   map[string]int
	to     string
}

var goodReplies = map[string]string{
	"greeting": "220 mail.example\r\n", "EHLO": "250 mail.example\r\n", "HELO": "250 mail.example\r\n", "STARTTLS": "220 go on\r\n",
	"EHLO1": "250-mail.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", // where EHLO2 follows
	"EHLO2": "250-mail.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n", "AUTH": "235 ok\r\n", "MAIL": "250 ok\r\n", "RCPT": "250 ok\r\n",
	"DATA": "354 go on\r\n", "dot": "250 queued\r\n", "RSET": "250 ok\r\n", "NOOP": "250 ok\r\n", "QUIT": "221 bye\r\n",
}

// reply does what the script says at a step. It returns the beginning of what was sent, and false when
// the session has ended.
func (s *scriptedSession) reply(step string) (sent string, open bool) {
	s.seen[step]++
	s.mu.Lock()
	what := &trouble{send: []string{goodReplies[step]}}
	if step == "EHLO" && s.tls {
		what.send[0] = goodReplies["EHLO1"]
	}
	if s.at != nil {
		what = cmp.Or(s.at(s.number, step, s.seen[step]), what)
	}
	sent = strings.Join(what.send, "")
	if step == "dot" && !strings.HasPrefix(sent, "4") && !strings.HasPrefix(sent, "5") {
		s.taken = append(s.taken, s.to)
	}
	s.mu.Unlock()
	for _, part := range what.send {
		_, _ = s.conn.Write([]byte(part)) // the client may have gone
	}
	for buffer := make([]byte, 1024); what.hang; {
		if _, err := s.conn.Read(buffer); err != nil {
			return sent, false
		}
	}
	return sent, !what.close
}

func (s *scriptedSession) run() {
	defer func() { s.conn.Close() }()
	_ = s.conn.SetDeadline(time.Now().Add(30 * time.Second)) // the test ends in any case
	if _, open := s.reply("greeting"); !open {
		return
	}
	in, message := bufio.NewReader(s.conn), []byte(nil)
	for inData, encrypted := false, false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if inData && line != ".\r\n" {
			message = append(message, line...)
			continue
		}
		step := strings.ToUpper(strings.Fields(line + " .")[0])
		switch {
		case inData:
			step, inData = "dot", false
		case step == "EHLO" && encrypted:
			step = "EHLO2"
		case step == "RCPT":
			s.to = line
		}
		s.note(step, line, string(message))
		sent, open := s.reply(step)
		if step == "DATA" && s.deaf != nil {
			<-s.deaf
		}
		if !open || step == "QUIT" {
			return
		}
		switch inData, message = step == "DATA" && strings.HasPrefix(sent, "354"), nil; {
		case step == "STARTTLS" && strings.HasPrefix(sent, "220"):
			s.conn = tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
			in, encrypted = bufio.NewReader(s.conn), true
		}
	}
}

func (s *scriptedSession) note(step, line, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, fmt.Sprint(s.number, " ", step))
	switch step {
	case "EHLO", "EHLO2", "HELO":
		s.names = append(s.names, strings.Fields(line)[1])
	case "MAIL":
		s.from = line
	case "dot":
		s.last = message
	}
}
