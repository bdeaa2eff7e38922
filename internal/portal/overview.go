package portal

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	// Open are the issues that go on, Ended those of the last day in which deliveries failed.
	Open, Ended []issueRow
	// OtherOpen is how many more go on. Failing says that nobody takes care of one.
	OtherOpen atLeast
	Failing   bool
}

const (
	// maxIssues is how many issues of each kind the overview lists: a page stays light.
	maxIssues = 8
	// countedIssues is how many of each kind it reads, to count receivers.
	countedIssues = 200
)

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
		if i.Failed > 0 && p.Now().Sub(i.EndedAt) < 24*time.Hour && len(show.Ended) < maxIssues {
			show.Ended = append(show.Ended, i)
		}
	}
	if show.Chart, err = p.day(ctx, v.client.ID); err != nil {
		return err
	}
	rows, more, err := p.receivers(ctx, v, open, ended)
	show.Receivers = rows[:min(len(rows), receiverRows)]
	show.OtherReceivers = len(rows) - len(show.Receivers)
	health := healthOf(open, rows, more)
	if text := health.String(); text != "" {
		show.Health = text + " " + show.Health
	}
	show.Failing = len(health.failing) > 0
	show.Good = show.Good && len(open) == 0
	slices.SortStableFunc(open, func(a, b issueRow) int { return known(a) - known(b) })
	show.Open = open[:min(len(open), maxIssues)]
	show.OtherOpen = atLeast{len(open) - len(show.Open), len(open) == countedIssues}
	return err
}

// known is 1 if somebody takes care of an issue.
func known(i issueRow) int {
	if i.Acknowledged != nil {
		return 1
	}
	return 0
}

// issues lists the newest issues of a state, countedIssues at most.
func (p *portal) issues(ctx context.Context, v visit, state herald.IssueState) (rows []issueRow, err error) {
	found, _, err := p.Issues.Issues(ctx, v.client.ID, herald.IssueFilter{State: state, Limit: countedIssues})
	for _, i := range found {
		rows = append(rows, issueRow{Issue: i, client: v.client, MayNot: v.mayNot()})
	}
	return rows, err
}

// receiverHealth counts receivers as statistics do: by their addresses without query.
type receiverHealth struct {
	failing map[string]bool // nobody takes care of them
	known   int             // fail, and somebody takes care of them
	total   int             // in use
	more    bool            // there are further receivers
	untried bool            // one has not answered yet
	part    bool            // not all issues were read
	why     string          // of the first that fails
}

// healthOf counts the receivers of open issues, and of the rows of the overview.
func healthOf(open []issueRow, rows []receiverRow, more bool) receiverHealth {
	h := receiverHealth{failing: make(map[string]bool), more: more, part: len(open) == countedIssues}
	all := make(map[string]bool)
	for _, i := range open {
		name := herald.ReceiverOf(i.Receiver)
		all[name] = true
		h.part = h.part || i.Receiver == ""
		if i.Acknowledged == nil {
			if len(h.failing) == 0 {
				h.why = i.Why()
			}
			h.failing[name] = true
		}
	}
	h.known = len(all) - len(h.failing)
	for _, r := range rows {
		if !r.Unused {
			all[r.Receiver] = true
			h.untried = h.untried || r.Issue == nil && r.LastSuccess.IsZero() && r.Receiver != herald.OtherReceivers
		}
	}
	h.total = len(all)
	return h
}

// String says in a sentence how many of the receivers fail; nothing if there are none.
func (h receiverHealth) String() string {
	many, n := number(h.total), len(h.failing)
	if h.more {
		many = "more than " + many
	}
	text := ""
	switch {
	case h.total == 0:
		return ""
	case n > 0 && h.part:
		text = fmt.Sprintf("At least %s.", plural(n, "receiver is failing", "receivers are failing"))
	case n == 1 && h.total == 1 && !h.more:
		text = fmt.Sprintf("The receiver is failing: %s.", h.why)
	case n == 1:
		text = fmt.Sprintf("1 of %s receivers is failing: %s.", many, h.why)
	case n > 1:
		text = fmt.Sprintf("%d of %s receivers are failing.", n, many)
	case h.known == h.total:
	case h.untried && h.known > 0:
		text = "No other receiver is failing."
	case h.untried:
		text = "No receiver is failing."
	case h.known > 0:
		text = "All other receivers are answering."
	case h.total == 1:
		text = "The receiver is answering."
	case h.total == 2:
		text = "Both receivers are answering."
	default:
		text = "All " + many + " receivers are answering."
	}
	if h.known > 0 {
		text = strings.TrimSpace(text + " " + plural(h.known, "failing receiver is", "failing receivers are") + " acknowledged.")
	}
	return text
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
