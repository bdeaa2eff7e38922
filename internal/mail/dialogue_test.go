package mail

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"herald"
	"herald/internal/policy"
)

// troubles are the kinds of trouble at a step. good is the reply that the step wants.
var troubles = map[string]func(good string) trouble{
	"closed":  func(string) trouble { return trouble{close: true} },
	"silent":  func(string) trouble { return trouble{hang: true} },
	"421":     func(string) trouble { return trouble{send: []string{"421 4.3.2 going down\r\n"}, close: true} },
	"452":     func(string) trouble { return trouble{send: []string{"452 4.3.1 too many\r\n"}} },
	"471":     func(string) trouble { return trouble{send: []string{"471 4.7.0 not from you now\r\n"}} },
	"550":     func(string) trouble { return trouble{send: []string{"550 5.7.1 no\r\n"}} },
	"503":     func(string) trouble { return trouble{send: []string{"503 5.5.1 bad sequence\r\n"}} },
	"504":     func(string) trouble { return trouble{send: []string{"504 5.5.2 name rejected\r\n"}} },
	"530":     func(string) trouble { return trouble{send: []string{"530 5.7.0 log in first\r\n"}} },
	"unknown": func(string) trouble { return trouble{send: []string{"550 5.1.1 no such mailbox\r\n"}} },
	"lines":   func(string) trouble { return trouble{send: []string{"550-5.7.1 no\r\n550-", "really\r\n550\r\n"}} },
	"split":   func(good string) trouble { return trouble{send: strings.Split(good, "")} },
	"refused": func(string) trouble { return trouble{send: []string{"550 5.7.1 and clo"}, close: true} }, // breaks off
	"mixed":   func(string) trouble { return trouble{send: []string{"250-yes\r\n550 no\r\n"}} },
	"garbage": func(string) trouble { return trouble{send: []string{"HTTP/1.1 400 Bad Request\r\n"}} },
	"extra":   func(good string) trouble { return trouble{send: []string{good + "250 early\r\n"}} },
	// With "bye" on a new connection it depends on the network at which step it is seen.
	"bye":  func(good string) trouble { return trouble{send: []string{good, "421 4.3.2 enough\r\n"}, close: true} },
	"cut":  func(good string) trouble { return trouble{send: []string{good[:3] + "-go"}, close: true} },
	"half": func(good string) trouble { return trouble{send: []string{good[:2]}, close: true} },
}

// cells say what becomes of a mail with each trouble at each step: the status or the reason, what the
// policy does then, how many copies the server may have taken, and how many sessions there are after
// one more mail, which always arrives. "1" means that the connection was used again.
var cells = []struct {
	used, tls bool // on a connection that has carried a mail; with STARTTLS and a login
	steps     string
	cells     map[string]string
}{
	{false, false, "greeting", map[string]string{
		"connect retry 0 2": "421 452 471 550 unknown 504 530 lines refused", "reset retry 0 2": "closed cut half", "timeout retry 0 2": "silent",
		"protocol retry 0 2": "503 mixed garbage extra", "250 delivered 1 1": "split",
	}},
	{false, false, "EHLO", map[string]string{
		"connect retry 0 2": "421 452 471", "reset retry 0 2": "closed cut half refused", "timeout retry 0 2": "silent",
		"protocol retry 0 2": "mixed garbage extra", "250 delivered 1 1": "split 550 unknown 503 504 530 lines", // with HELO
	}},
	{false, true, "EHLO EHLO2 AUTH", map[string]string{
		"connect retry 0 2": "421 452 471 550 unknown 504 530 lines refused", "reset retry 0 2": "closed cut half", "timeout retry 0 2": "silent",
		"protocol retry 0 2": "503 mixed garbage extra", "250 delivered 1 1": "split",
	}},
	{false, true, "STARTTLS", map[string]string{
		"tls retry 0 2": "closed cut half 421 452 471 550 unknown 504 530 lines refused", "timeout retry 0 2": "silent",
		"protocol retry 0 2": "503 mixed garbage extra", "250 delivered 1 1": "split",
	}},
	{false, false, "MAIL RCPT DATA", map[string]string{
		"421 retry 0 2": "421", "452 retry 0 1": "452", "471 retry 0 1": "471", "550 rejected 0 1": "550 unknown lines", "550 rejected 0 2": "refused",
		"connect retry 0 2": "504 530", "reset retry 0 2": "closed cut half", "timeout retry 0 2": "silent",
		"protocol retry 0 3": "503", "protocol retry 0 2": "mixed garbage extra", "250 delivered 1 1": "split",
	}},
	{false, false, "dot", map[string]string{
		"421 retry 0 2": "421", "452 retry 0 1": "452", "471 retry 0 1": "471", "550 rejected 0 1": "550 unknown lines", "550 rejected 0 2": "refused",
		"connect retry 0 2": "504 530", "reset retry 1 2": "closed half", "timeout retry 1 2": "silent",
		"protocol retry 0 3": "503", "protocol retry 1 2": "mixed garbage", "250 delivered 1 1": "split", "250 delivered 1 2": "extra bye cut",
	}},
	{true, false, "RSET", map[string]string{
		"250 delivered 1 1": "split",
		"250 delivered 1 2": "closed silent 421 452 471 550 unknown 503 504 530 lines refused mixed garbage extra bye cut half",
	}},
	{true, false, "MAIL", map[string]string{
		"timeout retry 0 2": "silent", "250 delivered 1 1": "split",
		"250 delivered 1 2": "closed 421 452 471 550 unknown 503 504 530 lines refused mixed garbage extra bye cut half",
	}},
	{true, false, "RCPT DATA", map[string]string{
		"550 rejected 0 1": "unknown", "timeout retry 0 2": "silent", "250 delivered 1 1": "split",
		"250 delivered 1 2": "closed 421 452 471 550 503 504 530 lines refused mixed garbage extra bye cut half",
	}},
	{true, false, "dot", map[string]string{
		"550 rejected 0 1": "550 unknown lines", "550 rejected 0 2": "refused", "reset retry 1 2": "closed half", "timeout retry 1 2": "silent",
		"protocol retry 1 2": "mixed garbage", "250 delivered 1 1": "split", "250 delivered 1 2": "421 452 471 503 504 530 extra bye cut",
	}},
}

// TestEachTroubleAtEachStep: each kind of trouble at each step of the dialogue, on a new connection (then
// the trouble lasts) and on one that has carried a mail (then only that connection has it).
func TestEachTroubleAtEachStep(t *testing.T) {
	for _, group := range cells {
		want := map[string]string{}
		for cell, names := range group.cells {
			for _, name := range strings.Fields(names) {
				if want[name] != "" {
					t.Errorf("%s: %s is in two cells", group.steps, name)
				}
				want[name] = cell
			}
		}
		for _, name := range slices.Sorted(maps.Keys(troubles)) {
			if want[name] == "" && name != "bye" {
				t.Errorf("%s: what %s leads to is not said", group.steps, name)
			}
			if want[name] == "" {
				continue
			}
			for _, step := range strings.Fields(group.steps) {
				t.Run(fmt.Sprintf("%s/%s/used=%v,tls=%v", step, name, group.used, group.tls), func(t *testing.T) {
					t.Parallel()
					s := &script{tls: group.tls}
					if got := s.cell(t, step, name, group.used); got != want[name] {
						t.Errorf("%s, want %s; the server got %s", got, want[name], s.commands)
					}
				})
			}
		}
	}
}

// cell sends a mail with trouble at a step, and one more without.
func (s *script) cell(t *testing.T, step, name string, used bool) string {
	good := goodReplies[step]
	if step == "EHLO" && s.tls {
		good = goodReplies["EHLO1"]
	}
	from := sender(t, s.start(t), func(o *Options) { o.Timeouts = timeoutsBut(step, name) })
	from.pool.resetTimeout = 20 * time.Second
	if step == "RSET" && name == "silent" {
		from.pool.resetTimeout = 300 * time.Millisecond
	}
	if used {
		if first := from.Send(t.Context(), request("one@acme.example")); first.Status != 250 {
			t.Fatalf("the first mail: %+v", first)
		}
	}
	s.set(func(session int, at string, n int) *trouble {
		if at != step || used && session > 1 {
			return nil
		}
		what := troubles[name](good)
		return &what
	})
	result := from.Send(t.Context(), request("two@acme.example"))
	s.set(nil)
	if next := from.Send(t.Context(), request("three@acme.example")); next.Status != 250 {
		t.Errorf("the next mail: %+v", next)
	}
	copies, sessions := s.copies("two@")
	if said := strings.Contains(result.Error, "may have been sent"); said != (copies > 0 && result.Status != 250) {
		t.Errorf("%d copies, and the error is %q", copies, result.Error)
	}
	what := string(result.Reason)
	if result.Reason == herald.ReasonNone || result.Reason == herald.ReasonStatus {
		what = fmt.Sprint(result.Status)
	}
	now := time.Now()
	decision := policy.Mail(policy.MailSchedule()).Decide(policy.Result{Status: result.Status, Reason: result.Reason}, 0, now, now, 0)
	return fmt.Sprintf("%s %s %d %d", what, decision.Outcome, copies, sessions)
}

// timeoutsBut returns timeouts that no test reaches, but a short one for a step that is silent.
func timeoutsBut(step, name string) Timeouts {
	t := allTimeouts(20 * time.Second)
	if name != "silent" {
		return t
	}
	short := map[string]*time.Duration{
		"greeting": &t.Greeting, "EHLO": &t.Hello, "EHLO2": &t.Hello, "STARTTLS": &t.Hello, "AUTH": &t.Hello,
		"MAIL": &t.Mail, "RCPT": &t.Rcpt, "DATA": &t.Data, "dot": &t.End,
	}[step]
	if short != nil {
		*short = 300 * time.Millisecond
	}
	return t
}

// TestRefusedNameIsNoFaultOfTheMail: what a server says to the name in EHLO and HELO is retried, however
// final it sounds, also if it is said late or after STARTTLS. The record has the server's words.
func TestRefusedNameIsNoFaultOfTheMail(t *testing.T) {
	for _, reply := range []string{"504 5.5.2 need a full name\r\n", "550 5.7.1 Access denied\r\n", "554 5.7.1 go away\r\n", "450 4.7.1 later\r\n"} {
		for _, encrypted := range []bool{false, true} {
			s := &script{tls: encrypted}
			s.set(func(_ int, at string, _ int) *trouble {
				if at == "EHLO2" || !encrypted && (at == "EHLO" || at == "HELO") {
					return &trouble{send: []string{reply}}
				}
				return nil
			})
			from := sender(t, s.start(t))
			result := from.Send(t.Context(), request("two@acme.example"))
			if result.Reason != herald.ReasonConnect || result.Status != 0 || !strings.Contains(result.Error, strings.TrimSpace(reply)) {
				t.Errorf("%q: %+v", reply, result)
			}
		}
	}
}

// TestNameRefusedLateIsNoFaultOfTheMail: servers that refuse the name in EHLO only at a later command say so in
// words. What they say of a mailbox is not taken for that.
func TestNameRefusedLateIsNoFaultOfTheMail(t *testing.T) {
	for reply, reason := range map[string]herald.Reason{
		"550 5.7.1 <host>: Helo command rejected: need fully-qualified hostname\r\n":  herald.ReasonConnect,
		"450 4.7.1 <host>: Helo command rejected: Host not found\r\n":                 herald.ReasonConnect,
		"550-5.7.1 blocked\r\n550 5.7.1 HELO COMMAND REJECTED: Access denied\r\n":     herald.ReasonConnect,
		"550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)\r\n":             herald.ReasonConnect,
		"501 5.5.2 Invalid EHLO name\r\n":                                             herald.ReasonConnect,
		"550 5.1.1 <helo@acme.example>: Recipient address rejected: User unknown\r\n": herald.ReasonStatus,
		"550 5.1.1 <\"Helo command rejected\"@acme.example>: no such mailbox\r\n":     herald.ReasonStatus,
		"554 5.7.1 <two@acme.example>: Relay access denied\r\n":                       herald.ReasonStatus,
	} {
		for _, step := range []string{"MAIL", "RCPT", "DATA"} {
			s := &script{}
			s.set(func(_ int, at string, _ int) *trouble {
				if at == step {
					return &trouble{send: []string{reply}}
				}
				return nil
			})
			from := sender(t, s.start(t))
			result := from.Send(t.Context(), request("two@acme.example"))
			if result.Reason != reason || (result.Status == 0) != (reason == herald.ReasonConnect) || !strings.Contains(result.Error, reply[4:9]) {
				t.Errorf("%q at %s: %+v", reply, step, result)
			}
		}
	}
}

// TestLimitOfAConnectionIsNotTheMailboxes: a server that refuses from the third mail of a connection on
// gets each mail once, on as many connections as it wants.
func TestLimitOfAConnectionIsNotTheMailboxes(t *testing.T) {
	anywhere, before := []string{"MAIL", "RCPT", "DATA", "dot"}, []string{"MAIL", "RCPT", "DATA"}
	for refusal, steps := range map[string][]string{
		"452 4.3.1 too many mails\r\n": anywhere, "450 4.7.1 come back\r\n": anywhere, "421 4.7.0 too many mails\r\n": anywhere, "503 5.5.1 enough\r\n": anywhere,
		"550 5.7.0 too many in this session\r\n": before, "554 5.5.3 too many recipients\r\n": before, "552 too many recipients\r\n": before,
		"550-too many\r\n550 in this session\r\n": {"MAIL", "DATA"}, "550 5.1.8 enough of this sender\r\n": {"MAIL"},
	} {
		for _, step := range steps {
			s := &script{}
			s.set(func(session int, at string, n int) *trouble {
				if at != step || n <= 2 {
					return nil
				}
				return &trouble{send: []string{refusal}, close: refusal[:3] == "421"}
			})
			from := sender(t, s.start(t))
			for n := range 6 {
				if result := from.Send(t.Context(), request("two@acme.example")); result.Status != 250 || result.Request.Redialled != (n == 2 || n == 4) {
					t.Errorf("%q at %s, mail %d: %+v, redialled %v", refusal, step, n, result, result.Request.Redialled)
				}
			}
			if copies, sessions := s.copies("two@"); copies != 6 || sessions != 3 {
				t.Errorf("%q at %s: %d copies over %d connections, want 6 over 3", refusal, step, copies, sessions)
			}
		}
	}
}

// TestRefusalOnTwoConnectionsCounts: what a new connection refuses too is the mailbox's, and the new
// connection is used again.
func TestRefusalOnTwoConnectionsCounts(t *testing.T) {
	s := &script{}
	from := sender(t, s.start(t))
	from.Send(t.Context(), request("one@acme.example"))
	s.set(func(_ int, at string, _ int) *trouble {
		if at == "RCPT" {
			return &trouble{send: []string{"450 4.2.1 later\r\n"}}
		}
		return nil
	})
	if result := from.Send(t.Context(), request("two@acme.example")); result.Status != 450 || result.Response == nil || !strings.Contains(result.Error, "4.2.1 later") {
		t.Errorf("%+v", result)
	}
	s.set(nil)
	from.Send(t.Context(), request("three@acme.example"))
	if _, sessions := s.copies(""); sessions != 2 {
		t.Errorf("%d connections, want 2", sessions)
	}
}

// TestLimitOfAConnectionAndNoOtherConnection: if no new connection can be made, a refusal that said nothing
// about the mailbox is trouble with the connection.
func TestLimitOfAConnectionAndNoOtherConnection(t *testing.T) {
	s := &script{}
	from := sender(t, s.start(t))
	from.Send(t.Context(), request("one@acme.example"))
	s.set(func(_ int, at string, _ int) *trouble {
		switch at {
		case "MAIL":
			return &trouble{send: []string{"550 5.7.0 too many in this session\r\n"}}
		case "greeting":
			return &trouble{send: []string{"421 4.7.0 too many connections\r\n"}, close: true}
		}
		return nil
	})
	if result := from.Send(t.Context(), request("two@acme.example")); result.Status != 0 || result.Reason != herald.ReasonConnect || !result.Request.Redialled {
		t.Errorf("%+v", result)
	}
}

// TestRefusalOfAMailboxKeepsTheConnection: what is said about a mailbox counts at once, on any connection.
func TestRefusalOfAMailboxKeepsTheConnection(t *testing.T) {
	for _, reply := range []string{"550 5.1.1 unknown\r\n", "552 5.2.2 full\r\n", "550 no such user\r\n", "553 not a mailbox\r\n", "550-5.2.1 disabled\r\n550 5.2.1 really\r\n"} {
		s := &script{}
		from := sender(t, s.start(t))
		from.Send(t.Context(), request("one@acme.example"))
		s.set(func(_ int, at string, _ int) *trouble {
			if at == "RCPT" {
				return &trouble{send: []string{reply}}
			}
			return nil
		})
		if result := from.Send(t.Context(), request("two@acme.example")); fmt.Sprint(result.Status) != reply[:3] || result.Request.Redialled {
			t.Errorf("%q: %+v", reply, result)
		}
		if _, sessions := s.copies(""); sessions != 1 {
			t.Errorf("%q: %d connections, want 1", reply, sessions)
		}
	}
}

// TestConnectionEndsAfterManyMails: a connection is replaced after maxMails, also if each is refused.
func TestConnectionEndsAfterManyMails(t *testing.T) {
	s := &script{}
	from := sender(t, s.start(t))
	for n := range maxMails + 1 {
		s.set(func(_ int, at string, _ int) *trouble {
			if at == "RCPT" && n%2 == 0 {
				return &trouble{send: []string{"550 5.1.1 unknown\r\n"}}
			}
			return nil
		})
		from.Send(t.Context(), request("two@acme.example"))
	}
	if copies, sessions := s.copies("two@"); copies != maxMails/2 || sessions != 2 {
		t.Errorf("%d copies over %d connections, want %d over 2", copies, sessions, maxMails/2)
	}
}

// TestConnectionEndsWithAge: an old connection is not used again.
func TestConnectionEndsWithAge(t *testing.T) {
	s := &script{}
	from := sender(t, s.start(t))
	from.Send(t.Context(), request("one@acme.example"))
	from.pool.idle[0].opened = time.Now().Add(-maxAge - time.Second)
	from.Send(t.Context(), request("two@acme.example"))
	if copies, sessions := s.copies("two@"); copies != 1 || sessions != 2 {
		t.Errorf("%d copies over %d connections, want 1 over 2", copies, sessions)
	}
}

// TestStopAtEachStep: a stop ends each wait at once. Only what was cut off after the message may have
// been sent. A mail that waits for a connection was not begun.
func TestStopAtEachStep(t *testing.T) {
	for _, step := range []string{"greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"} {
		ctx, stop := context.WithCancel(t.Context())
		s := &script{at: func(_ int, at string, _ int) *trouble {
			if at == step {
				stop()
				return &trouble{hang: true}
			}
			return nil
		}}
		from := sender(t, s.start(t), func(o *Options) { o.Timeouts = Timeouts{} })
		result := from.Send(ctx, request("two@acme.example"))
		if said := strings.Contains(result.Error, "may have been sent"); result.Reason != herald.ReasonInterrupted || said != (step == "dot") {
			t.Errorf("%s: %+v", step, result)
		}
		for range MaxConnections {
			from.pool.places <- struct{}{}
		}
		if result := from.Send(ctx, request("two@acme.example")); result.Wait == 0 || result.Reason != herald.ReasonNone || result.Request != nil {
			t.Errorf("without a connection: %+v", result)
		}
	}
}

// TestReplyDuringTheMessage: a server may refuse a message before its end, and close. Its reply counts.
// An acceptance before the end does not, and the end is not sent. A server that reads no more is given
// up after the time of a block.
func TestReplyDuringTheMessage(t *testing.T) {
	message := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 500_000) + finalDot)
	for _, test := range []struct {
		name  string
		after trouble
		code  int
		says  string
	}{
		{"refuses and closes", trouble{send: []string{"354 go on\r\n", "552 5.3.4 too large\r\n"}, close: true}, 552, "too large"},
		{"refuses for now and goes on", trouble{send: []string{"354 go on\r\n", "452 4.3.1 full\r\n"}}, 452, "full"},
		{"accepts too early", trouble{send: []string{"354 go on\r\n", "250 queued\r\n"}}, 0, "not SMTP"},
		{"closes", trouble{send: []string{"354 go on\r\n"}, close: true}, 0, "at the message"},
		{"reads no more", trouble{send: []string{"354 go on\r\n"}}, 0, "in time at the message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{at: func(_ int, at string, _ int) *trouble {
				if at == "DATA" {
					return &test.after
				}
				return nil
			}}
			if test.name == "reads no more" {
				s.deaf = make(chan struct{})
			}
			parsed, err := ParseServer(s.start(t))
			if err != nil {
				t.Fatal(err)
			}
			if s.deaf != nil {
				t.Cleanup(func() { close(s.deaf) })
			}
			timeouts := allTimeouts(20 * time.Second)
			if test.name == "reads no more" {
				timeouts.Block = 300 * time.Millisecond
			}
			session, err := openSession(t.Context(), parsed, timeouts, "me.example")
			if err != nil {
				t.Fatal(err)
			}
			defer session.close()
			_, err = session.transact(envelope{"a@herald.example", "two@acme.example", message})
			failed := failureOf(err)
			if failed == nil || failed.step != atContent || failed.reply.code != test.code || !strings.Contains(failed.Error(), test.says) {
				t.Errorf("%+v, want %d and %q at the message", failed, test.code, test.says)
			}
			if copies, _ := s.copies("two@"); copies != 0 {
				t.Errorf("the server has taken %d copies", copies)
			}
		})
	}
}
