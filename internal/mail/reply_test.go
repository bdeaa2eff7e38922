package mail

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"herald"
)

// scripted is a mail server that answers each command with what reply writes.
func scripted(t *testing.T, reply func(command string, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // the test ends in any case
			reply("CONNECT", c)
			inData := false
			for lines := bufio.NewScanner(c); lines.Scan(); {
				command := strings.ToUpper(lines.Text())
				if command == "QUIT" {
					break
				}
				if inData = inData && command != "."; !inData {
					reply(command, c)
					inData = command == "DATA"
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "smtp://" + l.Addr().String() + "?tls=none"
}

// TestRepliesAreBounded: a server that sends a reply without end, at any command, is cut off after
// maxReply and what the kernel buffers.
func TestRepliesAreBounded(t *testing.T) {
	chunk := []byte(strings.Repeat("x", 16<<10))
	for _, at := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "."} {
		for _, lines := range []string{"", "\r\n250-"} {
			var sent atomic.Int64
			address := scripted(t, func(command string, c net.Conn) {
				switch {
				case strings.HasPrefix(command, at):
					_, _ = c.Write([]byte("250-")) // the client may have gone
					c.SetWriteDeadline(time.Now().Add(5 * time.Second))
					for n, err := 0, error(nil); err == nil && sent.Load() < 64<<20; {
						n, err = c.Write(append(chunk, lines...))
						sent.Add(int64(n))
					}
					c.Close()
				case command == "CONNECT":
					_, _ = c.Write([]byte("220 mail.example\r\n"))
				case strings.HasPrefix(command, "DATA"):
					_, _ = c.Write([]byte("354 go on\r\n"))
				case strings.HasPrefix(command, "EHLO"), strings.HasPrefix(command, "MAIL"), strings.HasPrefix(command, "RCPT"), strings.HasPrefix(command, "NOOP"):
					_, _ = c.Write([]byte("250 ok\r\n"))
				}
			})
			result := sender(t, address).Send(t.Context(), request("a@acme.example"))
			if result.Reason != herald.ReasonProtocol || len(result.Error) > maxReplyText {
				t.Errorf("at %q with lines %q: %q, %d bytes: %.100s", at, lines, result.Reason, len(result.Error), result.Error)
			}
			if sent.Load() == 0 || sent.Load() > 32<<20 {
				t.Errorf("at %q: the client took %d bytes", at, sent.Load())
			}
		}
	}
}

// TestLongReplyIsKeptInPart: a reply within the bound is kept in part, without control characters.
func TestLongReplyIsKeptInPart(t *testing.T) {
	for code, want := range map[string]int{"250": 250, "550": 550} {
		address := scripted(t, func(command string, c net.Conn) {
			switch {
			case command == "CONNECT":
				_, _ = c.Write([]byte("220 mail.example\r\n"))
			case strings.HasPrefix(command, "DATA"):
				_, _ = c.Write([]byte("354 go on\r\n"))
			case command == ".":
				_, _ = c.Write([]byte(code + " \x1b[31m" + strings.Repeat("x", 30_000) + "\r\n"))
			case strings.HasPrefix(command, "EHLO"), strings.HasPrefix(command, "MAIL"), strings.HasPrefix(command, "RCPT"), strings.HasPrefix(command, "NOOP"), strings.HasPrefix(command, "RSET"):
				_, _ = c.Write([]byte("250 ok\r\n"))
			}
		})
		result := sender(t, address).Send(t.Context(), request("a@acme.example"))
		text := result.Error
		if result.Response != nil {
			text = result.Response.Body
		}
		if result.Status != want || len(text) < 1000 || len(text) > maxReplyText || strings.Contains(text, "\x1b") {
			t.Errorf("%s: status %d with %d bytes: %.60q", code, result.Status, len(text), text)
		}
	}
}

// TestNoDescriptorsForMailIsTold: it is not taken for a fault of the mail server.
func TestNoDescriptorsForMailIsTold(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	result := from.Send(t.Context(), request("a@acme.example"))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if result.Reason != herald.ReasonLocal || !strings.Contains(result.Error, "file descriptors") {
		t.Errorf("reason %q (%s), want local", result.Reason, result.Error)
	}
}
