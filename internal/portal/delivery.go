package portal

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/explain"
)

// deliveryView is what the page of a delivery shows.
type deliveryView struct {
	herald.Delivery
	Client client
	// Cause and Next are sentences.
	Cause, Next string
	// NoHeader says why no Authorization header was sent to a receiver that wants one, and HeaderPlace is where that is set.
	NoHeader    string
	HeaderPlace link
	// RuleDeleted says that the delivery's rule is not there any more.
	RuleDeleted bool
	// Past says what happened at the receiver before and after, with its times. SuccessHref is its last success.
	Past        []explain.Part
	SuccessHref string
	Attempts    []attemptView
	// Shown are the attempts whose requests and responses the page shows: one, or all to print.
	Shown                    []*attemptView
	Print                    bool
	Body                     payload
	Redeliver, Retry, Cancel action
	Self                     string
	now                      time.Time
}

// action is something that can be done, or the reason why it cannot.
type action struct {
	Href   string
	Reason string // empty if it can be done
}

// IsMail reports whether the receiver is a mailbox.
func (d deliveryView) IsMail() bool { return strings.HasPrefix(d.Address, herald.MailScheme) }

// Link is the receiver's address if it may be a link.
func (d deliveryView) Link() string {
	if strings.HasPrefix(d.Address, "https://") || strings.HasPrefix(d.Address, "http://") {
		return d.Address
	}
	return ""
}

// attemptView is one attempt.
type attemptView struct {
	herald.Attempt
	Badge badge
	// Said is what went wrong, as a sentence; empty after a success.
	Said string
	// Waited is how long after the attempt before it was made; 0 for the first.
	Waited  time.Duration
	Phases  []phase
	Current bool
	Href    string
	Headers []header // of the request
	Answer  []header // the headers of the response
	Body    payload  // of the response
	// Curl is the request as a command, secrets masked.
	Curl string
}

// Replaced reports whether the body of the response is not kept as it came.
func (a attemptView) Replaced() bool {
	return a.Response != nil && strings.ContainsRune(a.Response.Body, utf8.RuneError)
}

// Result is the result in a word.
func (a attemptView) Result() string { return resultOf(a.Status, a.Reason, "") }

// WaitedText is how long after the attempt before it was made.
func (a attemptView) WaitedText() string { return span(a.Waited) }

// header is one header of a request or a response.
type header struct{ Name, Value string }

// deliveryOf reads the delivery that a path names.
func (p *portal) deliveryOf(r *http.Request, v visit) (herald.Delivery, []herald.Attempt, error) {
	id, err := uuid.Parse(r.PathValue("delivery"))
	if err != nil || len(r.PathValue("delivery")) != 36 {
		return herald.Delivery{}, nil, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %.40s", r.PathValue("delivery"))
	}
	d, attempts, err := p.Deliveries.Delivery(r.Context(), v.client.ID, id)
	return d, explain.WithoutMailServer(attempts), err
}

// delivery shows a delivery with its attempts.
func (p *portal) delivery(r *http.Request, v visit) (answer, error) {
	d, attempts, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	values := r.URL.Query()
	self := v.client.path("/deliveries/" + d.ID.String())
	show := deliveryView{Delivery: d, Client: v.client, Self: self, now: p.Now(), Cause: inPortal.Replace(explain.Cause(d, attempts)), Next: explain.Next(d, attempts, p.Now(), utcClock),
		Attempts: attemptsOf(attempts, self)}
	if show.Print = values.Get("all") == "print"; show.Print {
		for i := range show.Attempts {
			show.Shown = append(show.Shown, &show.Attempts[i])
		}
	} else if one, err := shownAttempt(show.Attempts, values.Get("attempt")); err != nil {
		return answer{}, err
	} else if one != nil {
		one.Current, show.Shown = true, []*attemptView{one}
	}
	body, err := p.bodyOf(r.Context(), v.client.ID, d.ID)
	if err != nil {
		return answer{}, err
	}
	show.Body = payloadOf(body, true, show.Print || values.Get("all") == "request")
	show.Body.Raw, show.Body.All = self+"/body", self+"?all=request"
	for _, a := range show.Shown {
		a.fill(show.Print || values.Get("all") == "response")
		a.Body.Raw, a.Body.All = fmt.Sprintf("%s/attempts/%d/body", self, a.N), fmt.Sprintf("%s?attempt=%d&all=response", self, a.N)
		if a.Request != nil && !show.IsMail() {
			a.Curl = curl(*a.Request, body)
		}
	}
	show.actions(v)
	past, success, err := p.past(r.Context(), v, d, attempts)
	if err != nil {
		return answer{}, err
	}
	byRule, err := p.addRule(r.Context(), &show, attempts)
	if err != nil {
		return answer{}, err
	}
	if byRule {
		past.HeaderChanges = nil
	}
	if show.Past = past.Parts(d, attempts); success != uuid.Nil {
		show.SuccessHref = v.client.path("/deliveries/" + success.String())
	}
	return page("delivery.html", d.Type+" to "+d.Address, show), nil
}

// bodyOf returns the body of a delivery, nil if it is not in the database any more.
func (p *portal) bodyOf(ctx context.Context, of, id uuid.UUID) ([]byte, error) {
	body, err := p.Deliveries.DeliveryBody(ctx, of, id)
	if herald.CodeOf(err) == herald.CodeNotFound {
		return nil, nil
	}
	return body, err
}

// attemptsOf makes the views of attempts.
func attemptsOf(attempts []herald.Attempt, self string) []attemptView {
	views := make([]attemptView, len(attempts))
	longest := 0.0
	for _, a := range attempts {
		longest = max(longest, a.Timings.Total)
	}
	for i, a := range attempts {
		views[i] = attemptView{Attempt: a, Badge: outcomeBadge(a.Outcome), Phases: phasesOf(a.Timings, longest), Href: fmt.Sprintf("%s?attempt=%d#attempt", self, a.N)}
		if a.Outcome != herald.OutcomeDelivered {
			views[i].Said = explain.Attempt(a)
		}
		if i > 0 {
			views[i].Waited = a.At.Sub(attempts[i-1].At)
		}
	}
	return views
}

// shownAttempt returns the attempt that an address names, or the last one; nil if there is none.
func shownAttempt(all []attemptView, text string) (*attemptView, error) {
	if text == "" {
		if len(all) == 0 {
			return nil, nil
		}
		return &all[len(all)-1], nil
	}
	n, err := strconv.Atoi(text)
	i := slices.IndexFunc(all, func(a attemptView) bool { return a.N == n })
	if err != nil || i < 0 {
		return nil, herald.Errorf(herald.CodeNotFound, "The delivery has no attempt %.20s.", text)
	}
	return &all[i], nil
}

// fill adds what only the attempt that is shown needs.
func (a *attemptView) fill(whole bool) {
	if a.Request != nil {
		for _, name := range slices.Sorted(maps.Keys(a.Request.Headers)) {
			a.Headers = append(a.Headers, header{name, a.Request.Headers[name]})
		}
	}
	if a.Response == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.Response.Headers)) {
		for _, value := range a.Response.Headers[name] {
			a.Answer = append(a.Answer, header{name, value})
		}
	}
	a.Body = payloadOf([]byte(a.Response.Body), true, whole)
}

// actions fills in what can be done with the delivery, and why not.
func (d *deliveryView) actions(v visit) {
	d.Redeliver.Href, d.Retry.Href, d.Cancel.Href = d.Self+"/redeliver", d.Self+"/retry", d.Self+"/cancel"
	pending := d.State == herald.Pending
	switch {
	case v.mayNot() != "":
		d.Redeliver.Reason, d.Retry.Reason, d.Cancel.Reason = v.mayNot(), v.mayNot(), v.mayNot()
	case pending && d.InFlight:
		d.Redeliver.Reason, d.Retry.Reason = "An attempt is being made right now.", "An attempt is being made right now."
	case pending && d.IsMail() && d.AttemptCount == 0:
		d.Redeliver.Reason, d.Retry.Reason = "The mail has not been tried yet.", "The mail waits for its digest, or until the mailbox may get it."
	case pending:
		d.Redeliver.Reason = "A retry is scheduled already. Make it now instead."
	case d.Reason == herald.ReasonClientDeleted:
		d.Redeliver.Reason = "Its client was deleted."
	}
}

// NextSoon reports whether the time of the next attempt is known, which the page shows in the reader's zone.
func (d deliveryView) NextSoon() bool {
	return d.State == herald.Pending && !d.InFlight && d.NextAttemptAt.After(d.now)
}

// NextN is the number of the next attempt.
func (d deliveryView) NextN() int { return len(d.Attempts) + 1 }

// Pending reports whether the delivery can still be retried or cancelled.
func (d deliveryView) Pending() bool { return d.State == herald.Pending }

// auditEntries is how many of the newest entries of the audit log are looked through.
const auditEntries = 100

// past finds out what happened at the receiver of a delivery that has not arrived, as far as the visitor may know it, and
// the id of the last delivery that reached it.
func (p *portal) past(ctx context.Context, v visit, d herald.Delivery, attempts []herald.Attempt) (past explain.Past, success uuid.UUID, err error) {
	if d.State == herald.Delivered || len(attempts) == 0 {
		return past, success, nil
	}
	found, next, err := p.Deliveries.Deliveries(ctx, v.client.ID, herald.DeliveryFilter{State: new(herald.Delivered), Receiver: d.Address, Limit: 1})
	switch {
	case herald.CodeOf(err) == herald.CodeUnavailable:
		return past, success, nil // the search takes too long: say nothing rather than something wrong
	case err != nil:
		return past, success, err
	case len(found) > 0:
		past.LastSuccess, success = found[0].DoneAt, found[0].ID
	}
	past.Searched = len(found) > 0 || next == uuid.Nil
	if explain.RefusesCaller(attempts) && v.caller.MaySeeAudit() == nil {
		changes, _, err := p.Audit.Changes(ctx, v.client.ID, herald.ChangeFilter{Actions: []herald.Action{herald.ProfileUpdated}, Limit: auditEntries})
		if err != nil {
			return past, success, err
		}
		past.HeaderChanges = explain.HeaderChanges(changes)
	}
	return past, success, nil
}

// addRule fills in what depends on the delivery's rule as it is now. byRule says that the rule is why the delivery carries
// no Authorization header.
func (p *portal) addRule(ctx context.Context, show *deliveryView, attempts []herald.Attempt) (byRule bool, err error) {
	var rule *herald.Rule
	if show.RuleID != uuid.Nil {
		found, err := p.Rules.Rule(ctx, show.Client.ID, show.RuleID)
		switch {
		case err == nil:
			rule = &found
		case herald.CodeOf(err) != herald.CodeNotFound:
			return false, err
		}
		show.RuleDeleted = rule == nil
	}
	if show.State == herald.Delivered || show.IsMail() || !explain.LacksAuthorization(attempts) {
		return false, nil
	}
	of, err := p.Clients.Client(ctx, show.Client.ID)
	if err != nil {
		return false, err
	}
	show.NoHeader, byRule = explain.NoAuthorization(show.Delivery, of.Profile.AlertAuthHeader != "", rule)
	show.HeaderPlace = link{"Settings of the header", show.Client.path("/settings/security")}
	if byRule && rule != nil {
		show.HeaderPlace = link{"The rule", show.Client.path("/rules/" + rule.ID.String())}
	}
	return byRule, nil
}

// utcClock writes a time in a sentence.
func utcClock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// maxCurlBody is how much of a body a curl command has itself, in bytes.
const maxCurlBody = 4 << 10

// curl returns a command that makes a request again. Secrets are masked in the record already.
func curl(request herald.RequestRecord, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "curl -X %s %s", request.Method, quote(request.URL))
	for _, name := range slices.Sorted(maps.Keys(request.Headers)) {
		if name != "Content-Length" && name != "Host" {
			fmt.Fprintf(&b, " \\\n  -H %s", quote(name+": "+request.Headers[name]))
		}
	}
	if len(body) > maxCurlBody {
		b.WriteString(" \\\n  --data-binary @body.json # save the raw body as body.json")
	} else {
		fmt.Fprintf(&b, " \\\n  --data-raw %s", quote(string(body)))
	}
	return b.String()
}

// quote quotes a text for a shell. Odd characters, and bytes that are not UTF-8, are written as octal numbers: so the command is seen as
// it is, and can be copied. bash, zsh and ksh read that form.
func quote(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, isOdd) {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case isOdd(r), r == utf8.RuneError && size == 1:
			for _, c := range []byte(text[:size]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		case r == '\\', r == '\'':
			b.WriteString(`\` + text[:size])
		default:
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return "$'" + b.String() + "'"
}

// requestBody answers with the body that the attempts send, as it is.
func (p *portal) requestBody(r *http.Request, v visit) (answer, error) {
	d, _, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	body, err := p.Deliveries.DeliveryBody(r.Context(), v.client.ID, d.ID)
	return answer{text: slices.Concat([]byte{}, body)}, err
}

// responseBody answers with the body of a response, as far as it is kept.
func (p *portal) responseBody(r *http.Request, v visit) (answer, error) {
	_, attempts, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	a, err := shownAttempt(attemptsOf(attempts, ""), r.PathValue("n"))
	if err != nil {
		return answer{}, err
	}
	if a.Response == nil {
		return answer{}, herald.Errorf(herald.CodeNotFound, "The attempt %d got no response.", a.N)
	}
	return answer{text: append([]byte{}, a.Response.Body...)}, nil
}

// redeliver makes a new delivery of the same alert, and shows it.
func (p *portal) redeliver(r *http.Request, v visit) (answer, error) {
	return p.change(r, v, "redelivered", p.Sender.Redeliver)
}

// retry makes the next attempt now.
func (p *portal) retry(r *http.Request, v visit) (answer, error) {
	return p.change(r, v, "retried", p.Sender.Retry)
}

// cancel ends a pending delivery.
func (p *portal) cancel(r *http.Request, v visit) (answer, error) {
	return p.change(r, v, "cancelled", p.Sender.Cancel)
}

func (p *portal) change(r *http.Request, v visit, notice string, change func(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)) (answer, error) {
	d, _, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	changed, err := change(r.Context(), v.caller, v.client.ID, d.ID)
	if err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=%s", v.client.path("/deliveries/"+changed.ID.String()), notice), nil
}

// askCancel asks before a delivery is cancelled; a script shows the page as a dialog.
func (p *portal) askCancel(r *http.Request, v visit) (answer, error) {
	d, _, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	show := deliveryView{Delivery: d, Client: v.client, Self: v.client.path("/deliveries/" + d.ID.String())}
	show.actions(v)
	return page("cancel.html", "Cancel the delivery?", show), nil
}
