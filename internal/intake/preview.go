package intake

import (
	"context"
	"fmt"
	"time"

	"herald"
)

// Preview says which of the client's newest events a rule would have met. It examines at most
// herald.MaxPreviewed of them, and none older than herald.PreviewTime. It stores nothing.
func (x *Explainer) Preview(ctx context.Context, r herald.Rule) (herald.Preview, error) {
	since := x.Now().Add(-herald.PreviewTime).UTC().Truncate(time.Second)
	events, from, err := x.History.RecentEvents(ctx, r.ClientID, since, herald.MaxPreviewed+1)
	if err != nil {
		return herald.Preview{}, err
	}
	p := herald.Preview{Since: from, Complete: from.Equal(since), Examples: []herald.Example{}}
	more := len(events) > herald.MaxPreviewed
	if more {
		events = events[:herald.MaxPreviewed]
		p.Since, p.Complete = herald.TimeOf(events[len(events)-1].ID), false
	}
	for _, e := range events {
		if herald.IsTest(e.ID) {
			continue // it was for one rule
		}
		p.Examined++
		if !r.Meets(e) {
			continue
		}
		p.Matched++
		if len(p.Examples) < herald.MaxExamples {
			p.Examples = append(p.Examples, herald.Example{ID: e.ID, Type: e.Type, CompanyID: e.CompanyID, AcceptedAt: herald.TimeOf(e.ID)})
		}
	}
	p.Summary = inWords(p, more)
	return p, nil
}

// inWords returns a preview as a sentence. more says that there were more events than it examined.
func inWords(p herald.Preview, more bool) string {
	when := "in the last 7 days"
	switch {
	case more:
		when = fmt.Sprintf("since %s; it looked at the newest %d events only", p.Since.Format(time.RFC3339), herald.MaxPreviewed)
	case !p.Complete:
		when = fmt.Sprintf("since %s; older ones are deleted", p.Since.Format(time.RFC3339))
	}
	if p.Examined == 0 {
		return fmt.Sprintf("There were no events %s.", when)
	}
	return fmt.Sprintf("The rule would have matched %d of %s %s.", p.Matched, count(p.Examined, "event"), when)
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
