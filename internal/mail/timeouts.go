package mail

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Timeouts bound the steps of the dialogue with the mail server. A zero value means the default:
// that of RFC 5321 section 4.5.3.2 where it names one.
type Timeouts struct {
	// Connect bounds the connection with the look-up of the name; 30 s.
	Connect time.Duration
	// Greeting bounds the server's first reply; 5 min.
	Greeting time.Duration
	// Hello bounds each step from EHLO to the login: EHLO, STARTTLS, the handshake and each command
	// of the login; 5 min.
	Hello time.Duration
	// Mail, Rcpt and Data bound the replies to these commands; 5, 5 and 2 min.
	Mail, Rcpt, Data time.Duration
	// Block bounds the time until the server has taken a block of the message; 3 min.
	Block time.Duration
	// End bounds the reply to the end of the message; 10 min. A server that has taken a mail and is
	// given up too early gets a second copy.
	End time.Duration
}

// maxTimeout is the longest time that a step may have. Each step holds one of few connections.
const maxTimeout = time.Hour

// timeoutName is a timeout by the name that an operator gives it.
type timeoutName struct {
	name     string
	standard time.Duration
	of       func(*Timeouts) *time.Duration
}

var timeoutNames = []timeoutName{
	{"connect", 30 * time.Second, func(t *Timeouts) *time.Duration { return &t.Connect }},
	{"greeting", 5 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Greeting }},
	{"hello", 5 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Hello }},
	{"mail", 5 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Mail }},
	{"rcpt", 5 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Rcpt }},
	{"data", 2 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Data }},
	{"block", 3 * time.Minute, func(t *Timeouts) *time.Duration { return &t.Block }},
	{"end", 10 * time.Minute, func(t *Timeouts) *time.Duration { return &t.End }},
}

// ParseTimeouts reads timeouts such as "greeting=1m,end=15m". Those that the text does not name have
// their defaults. An error names the wrong part and the correct form.
func ParseTimeouts(text string) (t Timeouts, err error) {
	names := make([]string, len(timeoutNames))
	for i, n := range timeoutNames {
		names[i] = n.name
	}
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		i := slices.Index(names, strings.TrimSpace(name))
		if i < 0 {
			return t, fmt.Errorf("%.50q: want a step, = and a time, such as end=10m; the steps are %s", part, strings.Join(names, ", "))
		}
		field := timeoutNames[i].of(&t)
		if *field != 0 {
			return t, fmt.Errorf("%.50q: %s is given twice; give it once", part, names[i])
		}
		if *field, err = time.ParseDuration(strings.TrimSpace(value)); err != nil || *field <= 0 || *field > maxTimeout {
			return t, fmt.Errorf("%.50q: want a time longer than 0s and at most %v, such as %s=%v", part, maxTimeout, names[i], timeoutNames[i].standard)
		}
	}
	return t.withDefaults(), nil
}

func (t Timeouts) withDefaults() Timeouts {
	for _, n := range timeoutNames {
		if field := n.of(&t); *field <= 0 {
			*field = n.standard
		}
	}
	return t
}

// helloSteps is how many steps Hello bounds at most: EHLO, STARTTLS, the handshake, EHLO again, and two
// commands of the login.
const helloSteps = 6

// Longest returns how long a transaction with one block can take, if each step takes its whole time.
func (t Timeouts) Longest() time.Duration {
	t = t.withDefaults()
	return t.Connect + t.Greeting + helloSteps*t.Hello + t.Mail + t.Rcpt + t.Data + t.Block + t.End
}
