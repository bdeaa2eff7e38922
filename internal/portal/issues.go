package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

// Issues reads a client's issues, or those of all clients if client is uuid.Nil, and acknowledges them.
type Issues interface {
	// Issues lists issues, newest first, up to f.Limit. If they are too large for one answer, next continues.
	Issues(ctx context.Context, client uuid.UUID, f herald.IssueFilter) (found []herald.Issue, next uuid.UUID, err error)
	// Issue is CodeNotFound when the client has no such issue.
	Issue(ctx context.Context, client, id uuid.UUID) (herald.Issue, error)
	// AcknowledgeIssue is CodeNotFound as Issue, and CodeConflict when the issue has ended.
	AcknowledgeIssue(ctx context.Context, by herald.Caller, client, id uuid.UUID, note string) (herald.Issue, error)
}

// Recoverer sends failed deliveries again.
type Recoverer interface {
	// Recover makes new deliveries of failed ones that the filter selects; with dryRun it only counts them.
	// It may do a part only: then Next continues.
	Recover(ctx context.Context, by herald.Caller, client uuid.UUID, f herald.DeliveryFilter, dryRun bool) (herald.Recovery, error)
}

// recoverTime is how long one request recovers before its page asks whether to go on.
const recoverTime = 10 * time.Second

// issueRow is an issue on a page.
type issueRow struct {
	herald.Issue
	client client
	MayNot string // why nothing can be done about it; empty if it can
	// Lost is what could be recovered, as far as it was counted.
	Lost lost
}

func (i issueRow) at(page string) string { return i.client.path("/issues/" + i.ID.String() + page) }

// Acknowledge is where the form of the acknowledgement goes.
func (i issueRow) Acknowledge() string { return i.at("/acknowledge") }

// Recover is the page that asks whether to send again what failed.
func (i issueRow) Recover() string { return i.at("/recover") }

// Example is the address of the last delivery.
func (i issueRow) Example() string {
	return i.client.path("/deliveries/" + i.LastDelivery.String())
}

// ClientPath is the address of its client's overview, and ClientName the client's name.
func (i issueRow) ClientPath() string { return i.client.path("") }

func (i issueRow) ClientName() string { return i.client.Name }

// Name is the receiver.
func (i issueRow) Name() string {
	if i.Receiver == "" {
		return "Further receivers"
	}
	return strings.TrimPrefix(i.Receiver, herald.MailScheme)
}

// Why says what the receiver does, as the end of a sentence.
func (i issueRow) Why() string { return failing(i.Reason, i.LastStatus) }

// Open reports whether the issue goes on.
func (i issueRow) Open() bool { return i.State == herald.IssueOpen }

// Deliveries is the list of what failed in it: what a recovery selects.
func (i issueRow) Deliveries() string {
	f := url.Values{"state": {"failed"}, "since": {i.RecoveryFilter.Since.UTC().Format(time.RFC3339Nano)}}
	if !i.RecoveryFilter.Until.IsZero() {
		f.Set("until", i.RecoveryFilter.Until.UTC().Format(time.RFC3339Nano))
	}
	if i.Receiver != "" {
		f.Set("receiver", i.Receiver)
	}
	if i.Reason != herald.ReasonNone {
		f.Set("reason", string(i.Reason))
	}
	return i.client.path("/deliveries?" + f.Encode())
}

// filter returns what selects the failed deliveries of the issue.
func (i issueRow) filter() herald.DeliveryFilter {
	f := i.RecoveryFilter
	return herald.DeliveryFilter{Receiver: f.Receiver, Reason: f.Reason, Since: f.Since, Until: f.Until}
}

// issueOf returns the issue that a path names.
func (p *portal) issueOf(r *http.Request, v visit) (issueRow, error) {
	id, err := uuid.Parse(r.PathValue("issue"))
	if err != nil || len(r.PathValue("issue")) != 36 {
		return issueRow{}, herald.Errorf(herald.CodeNotFound, "There is no issue with this id.")
	}
	found, err := p.Issues.Issue(r.Context(), v.client.ID, id)
	return issueRow{Issue: found, client: v.client, MayNot: v.mayNot()}, err
}

// noteView is what the form of an acknowledgement shows.
type noteView struct {
	Issue issueRow
	Note  filterField
	Back  string
}

// Most is how many characters a note may have.
func (noteView) Most() int { return herald.MaxNote }

// noteOf returns the form of the issue that a path names, with its present note.
func (p *portal) noteOf(r *http.Request, v visit) (show noteView, err error) {
	show.Back = v.client.path("")
	if show.Issue, err = p.issueOf(r, v); err == nil && show.Issue.Acknowledged != nil {
		show.Note.Value = show.Issue.Acknowledged.Note
	}
	return show, err
}

// askNote asks for a note; a script shows the page as a dialog.
func (p *portal) askNote(r *http.Request, v visit) (answer, error) {
	show, err := p.noteOf(r, v)
	return page("acknowledge.html", "Acknowledge", show), err
}

// acknowledge notes who takes care of an issue.
func (p *portal) acknowledge(r *http.Request, v visit) (answer, error) {
	show, err := p.noteOf(r, v)
	if err != nil {
		return answer{}, err
	}
	show.Note.Value = strings.TrimSpace(r.PostForm.Get("note"))
	if n := utf8.RuneCountInString(show.Note.Value); n > herald.MaxNote {
		show.Note.Error = fmt.Sprintf("The note has %d characters; at most %d are taken.", n, herald.MaxNote)
		return wrong("acknowledge.html", "Acknowledge", show), nil
	}
	_, err = p.Issues.AcknowledgeIssue(r.Context(), v.caller, v.client.ID, show.Issue.ID, show.Note.Value)
	return seeOther("%s?notice=acknowledged", show.Back), err
}

// recoveryView is what the page about recovering an issue shows.
type recoveryView struct {
	Issue issueRow
	herald.Recovery
	// Done says that deliveries were made; else they were only counted.
	Done     bool
	Overview string
	// Began is when the first of the deliveries was made.
	Began time.Time
	// Waiting and Again are how many of those made since then have not arrived yet, and failed again. List shows them all,
	// and Failed those that failed.
	Waiting, Again atLeast
	List, Failed   string
}

// atLeast is a number of deliveries that were counted up to a bound.
type atLeast struct {
	N    int
	More bool
}

// String is the number in words.
func (n atLeast) String() string {
	if n.More {
		return "more than " + plural(n.N, "delivery", "deliveries")
	}
	return plural(n.N, "delivery", "deliveries")
}

// recoveredRows is how far the deliveries of each state are counted after a recovery.
const recoveredRows = 100

// Arrived reports whether all deliveries have arrived.
func (r recoveryView) Arrived() bool {
	return r.Count > 0 && r.Waiting == atLeast{} && r.Again == atLeast{}
}

// After is where a further request goes on; empty from the start.
func (r recoveryView) After() string {
	if !r.Done || r.Next == uuid.Nil {
		return ""
	}
	return r.Next.String()
}

// askRecover counts what would be sent again.
func (p *portal) askRecover(r *http.Request, v visit) (answer, error) {
	return p.recoverIssue(r, v, true)
}

// recoverFailed sends again what failed in an issue.
func (p *portal) recoverFailed(r *http.Request, v visit) (answer, error) {
	return p.recoverIssue(r, v, false)
}

func (p *portal) recoverIssue(r *http.Request, v visit, dryRun bool) (answer, error) {
	i, err := p.issueOf(r, v)
	if err != nil {
		return answer{}, err
	}
	f := i.filter()
	began := time.Now()
	show := recoveryView{Issue: i, Overview: v.client.path(""), Began: p.Now()}
	if f.After, err = optionalID("after", r.PostForm.Get("after")); err != nil {
		return answer{}, err
	}
	if dryRun && r.URL.Query().Has("made") {
		show.Done = true
		if err = show.read(r.URL.Query()); err == nil {
			err = p.outcome(r.Context(), v, &show)
		}
		return page("recover.html", "Recovered", show), err
	}
	if text := r.PostForm.Get("since"); text != "" { // it goes on
		if show.Began, err = parseMoment(text, p.Now()); err != nil {
			return answer{}, err
		}
	}
	for {
		part, err := p.Recoverer.Recover(r.Context(), v.caller, v.client.ID, f, dryRun)
		if err != nil {
			return answer{}, err
		}
		show.Count, show.Skipped, show.Next = show.Count+part.Count, show.Skipped+part.Skipped, part.Next
		f.After = part.Next
		switch {
		case dryRun:
			return page("recover.html", "Recover failed deliveries", show), nil
		case part.Next == uuid.Nil || time.Since(began) >= recoverTime:
			return seeOther("%s?%s", i.Recover(), show.values().Encode()), nil
		}
	}
}

// outcome counts what became of the deliveries that were made.
func (p *portal) outcome(ctx context.Context, v visit, show *recoveryView) error {
	list := url.Values{"since": {show.Since()}}
	if show.Issue.Receiver != "" {
		list.Set("receiver", show.Issue.Receiver)
	}
	show.List = v.client.path("/deliveries?" + list.Encode())
	list.Set("state", "failed")
	show.Failed = v.client.path("/deliveries?" + list.Encode())
	for state, into := range map[herald.State]*atLeast{herald.Pending: &show.Waiting, herald.Failed: &show.Again} {
		found, next, err := p.Deliveries.Deliveries(ctx, v.client.ID, herald.DeliveryFilter{State: &state, Receiver: show.Issue.Receiver, Since: show.Began, Limit: recoveredRows + 1})
		if err != nil {
			return err
		}
		for _, d := range found[:min(len(found), recoveredRows)] {
			if d.Repeats != uuid.Nil {
				into.N++
			}
		}
		into.More = len(found) > recoveredRows || next != uuid.Nil
	}
	return nil
}

// Since is Began as a filter has it.
func (r recoveryView) Since() string { return r.Began.UTC().Format(time.RFC3339Nano) }

// values are the result in the address of the page that shows it, so that loading it again recovers nothing.
func (r recoveryView) values() url.Values {
	q := url.Values{"made": {strconv.Itoa(r.Count)}, "skipped": {strconv.Itoa(r.Skipped)}, "since": {r.Since()}}
	if r.Next != uuid.Nil {
		q.Set("after", r.Next.String())
	}
	return q
}

// read reads what values has written.
func (r *recoveryView) read(q url.Values) (err error) {
	for name, into := range map[string]*int{"made": &r.Count, "skipped": &r.Skipped} {
		if *into, err = strconv.Atoi(q.Get(name)); err != nil || *into < 0 {
			return herald.Invalid(name, "%s: %.20q is no number of deliveries.", name, q.Get(name))
		}
	}
	if r.Began, err = parseMoment(q.Get("since"), r.Began); err != nil {
		return err
	}
	r.Next, err = optionalID("after", q.Get("after"))
	return err
}
