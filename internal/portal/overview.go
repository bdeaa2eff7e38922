package portal

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// overviewRows is how many deliveries the overview lists of each kind, and how far it counts.
const overviewRows = 10

// overviewView is what the overview shows.
type overviewView struct {
	Client client
	// Health is how things are, in a sentence.
	Health string
	Good   bool
	// Steps are what is left to do until the first event arrives; nil once one has.
	Steps           []step
	Failed, Waiting []deliveryRow
	Day             string // how the list selects the last day
}

// step is one line of the checklist.
type step struct {
	Done          bool
	Text, Command string
}

// overview shows how the client's deliveries are, from what is known without statistics.
func (p *portal) overview(r *http.Request, v visit) (answer, error) {
	show := overviewView{Client: v.client, Day: "24h"}
	var err error
	if show.Steps, err = p.steps(r.Context(), v); err != nil {
		return answer{}, err
	}
	day := p.Now().Add(-24 * time.Hour)
	failed, moreFailed, err := p.newest(r.Context(), v, herald.DeliveryFilter{State: new(herald.Failed), Since: day, Unrepeated: true})
	if err != nil {
		return answer{}, err
	}
	waiting, moreWaiting, err := p.newest(r.Context(), v, herald.DeliveryFilter{State: new(herald.Pending)})
	if err != nil {
		return answer{}, err
	}
	show.Failed, show.Waiting = failed, waiting
	show.Health, show.Good = health(failed, moreFailed, waiting, moreWaiting)
	return page("overview.html", "Overview", show), nil
}

// newest lists the newest deliveries that meet a filter. more says that there are others, or may be.
func (p *portal) newest(ctx context.Context, v visit, f herald.DeliveryFilter) (rows []deliveryRow, more bool, err error) {
	f.Limit = overviewRows + 1
	found, next, err := p.Deliveries.Deliveries(ctx, v.client.ID, f)
	more = len(found) > overviewRows || next != uuid.Nil
	for _, d := range found[:min(len(found), overviewRows)] {
		rows = append(rows, deliveryRow{d, v.client.path("/deliveries/" + d.ID.String())})
	}
	return rows, more, err
}

// health says in a sentence how things are.
func health(failed []deliveryRow, moreFailed bool, waiting []deliveryRow, moreWaiting bool) (text string, good bool) {
	count := func(rows []deliveryRow, more bool) string {
		if more {
			return fmt.Sprintf("More than %d deliveries", len(rows))
		}
		return plural(len(rows), "delivery", "deliveries")
	}
	switch {
	case len(failed) > 0:
		text = count(failed, moreFailed) + " failed in the last 24 hours and did not arrive since."
	case moreFailed:
		text = "Not all of the last 24 hours could be looked through."
	default:
		text, good = "Nothing failed in the last 24 hours.", true
	}
	if len(waiting) == 0 && !moreWaiting {
		return text + " Nothing waits.", good
	}
	retrying, verb := 0, " wait"
	for _, d := range waiting {
		if d.AttemptCount > 0 {
			retrying++
		}
	}
	if len(waiting) == 1 && !moreWaiting {
		verb = " waits"
	}
	text += " " + count(waiting, moreWaiting) + verb
	switch {
	case retrying == 0:
		return text + " for a first attempt.", good
	case retrying == len(waiting) && !moreWaiting:
		return text + " for a retry.", false
	default:
		return text + ", some of them for a retry.", false
	}
}

// steps returns the checklist rule, receiver, first event; nil once an event has come.
func (p *portal) steps(ctx context.Context, v visit) ([]step, error) {
	events, _, err := p.Events.Events(ctx, v.client.ID, uuid.Nil, 1)
	if err != nil || len(events) > 0 {
		return nil, err
	}
	rules, total, err := p.Rules.Rules(ctx, v.client.ID, uuid.Nil, query.List{Page: 1, PageSize: query.DefaultPageSize, Order: query.Rules().Default})
	if err != nil {
		return nil, err
	}
	receives := false
	for _, rule := range rules {
		receives = receives || rule.Webhook != "" || len(rule.Emails) > 0
	}
	return []step{
		{total > 0, "Make a rule: which events concern you.", `herald rules create "Data sync completed" --webhook https://your.example/hook`},
		{receives, "Give a rule a receiver: a webhook or a mailbox.", "herald rules update RULE --webhook https://your.example/hook"},
		{false, "Publish a first event.", `herald trigger "Data sync completed"`},
	}, nil
}
