package portal

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
	// Next is when the next attempt is due; zero if that is not known.
	Next time.Time
	// Steps are what is left to do until the first event arrives; nil once one has.
	Steps           []step
	Failed, Waiting []deliveryRow
	Day             string // how the list selects the last day
	Chart           chart
	Receivers       []receiverRow
	OtherReceivers  int
	// Open are the issues that go on, and Ended those of the last day in which deliveries failed.
	Open, Ended []issueRow
}

// maxIssues is how many issues of each kind the overview lists.
const maxIssues = 20

// issueRows is how many of the open issues the overview shows: a page stays light.
const issueRows = 10

// ShownOpen are the newest open issues.
func (o overviewView) ShownOpen() []issueRow { return o.Open[:min(len(o.Open), issueRows)] }

// MoreOpen is how many others are known, and AllOpen says that there are no more than these.
func (o overviewView) MoreOpen() int { return max(len(o.Open)-issueRows, 0) }

// AllOpen reports whether Open has all open issues.
func (o overviewView) AllOpen() bool { return len(o.Open) < maxIssues }

// step is one line of the checklist, with the command that does it, and the page on which it can be done.
type step struct {
	Done, Next                bool // Next is the first that is not done
	Text, Link, Href, Command string
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
	for _, d := range waiting {
		if at := d.NextAttemptAt; !moreWaiting && !at.IsZero() && at.After(p.Now()) && (show.Next.IsZero() || at.Before(show.Next)) {
			show.Next = at
		}
	}
	show.Health, show.Good = health(failed, moreFailed, waiting, moreWaiting)
	if err := p.addReceivers(r.Context(), v, &show); err != nil {
		return answer{}, err
	}
	if err := p.countLost(r.Context(), v, show.Open, show.Ended); err != nil {
		return answer{}, err
	}
	return page("overview.html", "Overview", show), nil
}

// addReceivers fills in how the receivers are.
func (p *portal) addReceivers(ctx context.Context, v visit, show *overviewView) error {
	open, err := p.issues(ctx, v, herald.IssueOpen)
	if err != nil {
		return err
	}
	ended, err := p.issues(ctx, v, herald.IssueEnded)
	if err != nil {
		return err
	}
	for _, i := range ended {
		if i.Failed > 0 && p.Now().Sub(i.EndedAt) < 24*time.Hour {
			show.Ended = append(show.Ended, i)
		}
	}
	show.Open = open
	if show.Chart, err = p.day(ctx, v.client.ID); err != nil {
		return err
	}
	rows, total, more, err := p.receivers(ctx, v, open)
	show.Receivers, show.OtherReceivers = rows, total-len(rows)
	if text := receiverHealth(open, total, more); text != "" {
		show.Health = text + " " + show.Health
	}
	show.Good = show.Good && len(open) == 0
	return err
}

// issues lists the newest issues of a state.
func (p *portal) issues(ctx context.Context, v visit, state herald.IssueState) (rows []issueRow, err error) {
	found, _, err := p.Issues.Issues(ctx, v.client.ID, herald.IssueFilter{State: state, Limit: maxIssues})
	for _, i := range found {
		rows = append(rows, issueRow{Issue: i, client: v.client, MayNot: v.mayNot()})
	}
	return rows, err
}

// receiverHealth says in a sentence how many of the receivers fail; nothing if there are none.
func receiverHealth(open []issueRow, total int, more bool) string {
	failing := make(map[string]bool)
	for _, i := range open {
		failing[i.Receiver] = true
	}
	many := number(total)
	if more {
		many = "more than " + many
	}
	switch {
	case total == 0 && len(failing) == 0:
		return ""
	case len(open) == maxIssues:
		return fmt.Sprintf("At least %s.", plural(len(failing), "receiver fails", "receivers fail"))
	case len(failing) == 1 && total > 1:
		return fmt.Sprintf("1 of %s receivers is failing: %s.", many, open[0].Why())
	case len(failing) == 1:
		return fmt.Sprintf("The receiver is failing: %s.", open[0].Why())
	case len(failing) > 1 && total >= len(failing):
		return fmt.Sprintf("%d of %s receivers are failing.", len(failing), many)
	case len(failing) > 1:
		return fmt.Sprintf("%d receivers are failing.", len(failing))
	case total == 1:
		return "The receiver is answering."
	case total == 2:
		return "Both receivers are answering."
	}
	return "All " + many + " receivers are answering."
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
	events, _, err := p.Events.Events(ctx, v.client.ID, herald.EventFilter{Limit: 1, WithoutData: true})
	if err != nil || len(events) > 0 {
		return nil, err
	}
	rules, total, err := p.Rules.Rules(ctx, v.client.ID, uuid.Nil, query.List{Page: 1, PageSize: query.DefaultPageSize, Order: query.Rules().Default})
	if err != nil {
		return nil, err
	}
	one, kind, edit, example := "RULE", "Data sync completed", v.client.path("/rules/new"), v.client.path("/catalogue")
	receives := false
	for n, rule := range rules {
		if n == 0 {
			one, kind = rule.ID.String(), rule.Type
		}
		if len((ruleView{Rule: rule}).All()) == 0 {
			one, edit = rule.ID.String(), v.client.path("/rules/"+rule.ID.String()+"/edit")
			continue
		}
		if !receives {
			kind, example = rule.Type, v.client.examplePath(rule)
		}
		receives = true
	}
	all := []step{
		{total > 0, false, "Make a rule: which events concern you.", "Make a rule", v.client.path("/rules/new"), `herald rules create "Data sync completed" --webhook https://your.example/hook`},
		{receives, false, "Give a rule a receiver: a webhook or a mailbox.", "Give it a receiver", edit, "herald rules update " + one + " --webhook https://your.example/hook"},
		{false, false, "Publish a first event.", "Send an example", example, "herald trigger " + strconv.Quote(kind)},
	}
	all[slices.IndexFunc(all, func(s step) bool { return !s.Done })].Next = true // the last one is never done
	return all, nil
}
