package mail

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// reply is a reply of the server: its code, and its text without the codes of its lines.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s", r.code, r.text)) }

// positive reports whether the server has done what the command asked for.
func (r reply) positive() bool { return r.code/100 == 2 }

// refusal reports whether the server refuses, for now (4xx) or for good (5xx).
func (r reply) refusal() bool { return r.code/100 == 4 || r.code/100 == 5 }

// subject returns what the enhanced status of a reply is about (RFC 3463 section 3), from 1 to 7; 0 if it
// has none: its text then does not begin as "5.1.1 " does.
func (r reply) subject() int {
	status, _, _ := strings.Cut(r.text, " ")
	status, _, _ = strings.Cut(status, "\n")
	parts := strings.Split(status, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" || len(parts[1]) != 1 || parts[1] < "1" || parts[1] > "7" || strings.Trim(parts[2], "0123456789") != "" {
		return 0
	}
	return int(parts[1][0] - '0')
}

// refusesName reports whether a refusal to a later command is one of the name in EHLO. Postfix and Exim say so
// only in words, beside codes that they also give for a mailbox; Postfix by default to RCPT. An enhanced status
// about an address or a mailbox counts before the words.
func (r reply) refusesName() bool {
	if subject := r.subject(); subject == 1 || subject == 2 {
		return false
	}
	text := strings.ToLower(r.text)
	return slices.ContainsFunc([]string{"helo command rejected", "invalid helo", "invalid ehlo"}, func(words string) bool { return strings.Contains(text, words) })
}

// errNotSMTP means that the server sent what is no reply, or a reply to nothing.
var errNotSMTP = errors.New("the mail server's reply is not SMTP")

// readReply reads a reply of one or more lines (RFC 5321 section 4.2). All of its lines must have one
// code: a reply with two codes says nothing that can be relied on. A line without a text is taken. If
// the connection ends or is silent in the middle, the reply is returned beside the error as soon as
// its code is known.
func readReply(r *bufio.Reader) (whole reply, err error) {
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, errReplyTooLong) {
			return reply{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		code, ok := replyCode(line)
		switch {
		case err != nil && len(line) < 3:
			return whole, err
		case !ok || whole.code != 0 && code != whole.code:
			return reply{}, cmp.Or(err, fmt.Errorf("%w: %.100q", errNotSMTP, line))
		case whole.code != 0:
			whole.text += "\n"
		}
		whole.code = code
		if len(line) > 3 {
			whole.text += line[4:]
		}
		if err != nil || len(line) == 3 || line[3] == ' ' {
			return whole, err
		}
	}
}

// replyCode returns the code of a line: three digits from 200 to 599, and then nothing, a blank or a
// hyphen.
func replyCode(line string) (int, bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' || line[0] < '2' || line[0] > '5' {
		return 0, false
	}
	code := 0
	for _, digit := range []byte(line[:3]) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		code = code*10 + int(digit-'0')
	}
	return code, true
}
