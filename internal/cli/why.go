package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/explain"
)

// Explanation explains the state of a delivery: the cause in a sentence, the evidence, and
// what happens next.
type Explanation struct {
	Cause    string   `json:"cause"`
	Evidence []string `json:"evidence"`
	Next     string   `json:"next"`
}

// Why explains a delivery with its attempts and what is known of its receiver's past.
func Why(d client.Delivery, past explain.Past, now time.Time) Explanation {
	cause := explain.Cause(d.Delivery, d.Attempts)
	if said := explain.Sentence(past.Parts(d.Delivery, d.Attempts), Time); said != "" {
		cause += " " + said
	}
	return Explanation{Cause: cause, Evidence: evidence(d), Next: next(d, past.Others, now)}
}

// WriteWhy writes an explanation for a person.
func WriteWhy(out io.Writer, e Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", Clean(e.Cause))
	if len(e.Evidence) > 0 {
		fmt.Fprintf(&b, "\nEvidence\n")
		for _, line := range e.Evidence {
			fmt.Fprintf(&b, "  %s\n", Clean(line))
		}
	}
	fmt.Fprintf(&b, "\nNext\n  %s\n", Clean(e.Next))
	_, err := io.WriteString(out, b.String())
	return err
}

func evidence(d client.Delivery) []string {
	lines := []string{"to " + d.Address, fmt.Sprintf("raised %s, %s", Time(d.RaisedAt), explain.Attempts(len(d.Attempts)))}
	if d.Test {
		lines = append(lines, "a test of the rule "+d.RuleID.String())
	}
	if d.Repeats != uuid.Nil {
		lines = append(lines, fmt.Sprintf("repeats the delivery %s; made %s", d.Repeats, Time(d.MadeAt)))
	}
	if d.RepeatedBy != uuid.Nil {
		lines = append(lines, fmt.Sprintf("repeated by the delivery %s", d.RepeatedBy))
	}
	for _, a := range d.Attempts {
		line := fmt.Sprintf("attempt %d at %s: %s", a.N, Time(a.At), a.Outcome)
		if a.Status != 0 {
			line += fmt.Sprintf(", status %d", a.Status)
		}
		if a.Reason != herald.ReasonNone && a.Reason != herald.ReasonStatus {
			line += ", " + string(a.Reason)
		}
		if a.Timings.Total > 0 {
			line += fmt.Sprintf(", %.0f ms", a.Timings.Total)
		}
		lines = append(lines, line)
		if a.Error != "" {
			lines = append(lines, "  "+a.Error)
		}
	}
	if n := len(d.Attempts); n > 0 {
		lines = append(lines, lastEvidence(d.Attempts[n-1])...)
	}
	return lines
}

// lastEvidence returns the last attempt's request, timings and response.
func lastEvidence(a herald.Attempt) []string {
	var lines []string
	if a.Request != nil {
		lines = append(lines, fmt.Sprintf("the request: %s %s", a.Request.Method, a.Request.URL))
		for _, name := range slices.Sorted(maps.Keys(a.Request.Headers)) {
			lines = append(lines, fmt.Sprintf("  %s: %s", name, a.Request.Headers[name]))
		}
		if a.Request.Unsent {
			lines = append(lines, "  nothing of it was sent, because there was no connection")
		}
		for _, hop := range a.Request.Hops {
			lines = append(lines, hopEvidence(hop)...)
		}
		if a.Request.Redialled {
			lines = append(lines, "a kept-alive connection was found closed; the request was made once more on a new one")
		}
	}
	if phases := phases(a.Timings); phases != "" {
		lines = append(lines, "the time went to: "+phases)
	}
	if a.Response != nil && a.Response.Body != "" {
		lines = append(lines, "the response began: "+Brief(a.Response.Body, 300))
	}
	return lines
}

// hopEvidence returns a redirect, and the request that was sent to where it led.
func hopEvidence(hop herald.Hop) []string {
	lines := []string{fmt.Sprintf("redirected (%d) to %s", hop.Status, hop.URL)}
	if hop.Method != "" {
		lines[0] += ", called with " + hop.Method + " and the same body"
	}
	for _, name := range slices.Sorted(maps.Keys(hop.Headers)) {
		lines = append(lines, fmt.Sprintf("  %s: %s", name, hop.Headers[name]))
	}
	if hop.AuthorizationDropped != "" {
		lines = append(lines, "  the Authorization header was not sent, because "+hop.AuthorizationDropped)
	}
	if hop.Unsent {
		lines = append(lines, "  nothing of it was sent, because there was no connection")
	}
	return lines
}

// phases lists the phases that took time.
func phases(t herald.Timings) string {
	var parts []string
	for _, phase := range []struct {
		name string
		ms   float64
	}{{"name lookup", t.DNS}, {"connecting", t.Connect}, {"TLS handshake", t.TLS}, {"waiting for the response", t.FirstByte}} {
		if phase.ms > 0 {
			parts = append(parts, fmt.Sprintf("%s %v ms", phase.name, phase.ms))
		}
	}
	return strings.Join(parts, ", ")
}

// next adds the command that sends a delivery again, unless another one has reached its receiver or is on its
// way there.
func next(d client.Delivery, others []herald.Delivery, now time.Time) string {
	text := explain.Next(d.Delivery, d.Attempts, now, Time)
	if d.State == herald.Failed || d.State == herald.Cancelled {
		said, enough := explain.Repeats(d.Delivery, others, Time)
		switch {
		case enough:
			return "Nothing. " + said
		case said != "":
			text = "Nothing more happens by itself. " + said
		}
	}
	if d.State != herald.Pending && d.State != herald.Delivered && d.Reason != herald.ReasonClientDeleted {
		text += " Send it again with: herald deliveries redeliver " + d.ID.String()
	}
	return text
}
