package portal

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/devinbox"
)

const (
	inboxPath = "/inbox"
	// inboxRows is how much of what came the page lists.
	inboxRows = 50
)

// inboxView is what the page of the inbox shows.
type inboxView struct {
	Client client
	Rows   []receivedRow
	// More is how many older ones there are.
	More       int
	Answer     answerForm
	Set, Clear action
}

// receivedRow is a webhook or a mail that came.
type receivedRow struct {
	devinbox.Received
	Kind, Message string
	AlertID       uuid.UUID
	Href          string
	client        uuid.UUID // that it names; uuid.Nil for none
}

// Badge is what it was answered with. Whether the delivery failed is not known here, so nothing is red.
func (r receivedRow) Badge() badge {
	switch {
	case r.Unanswered != "":
		return badge{"off", "cross", map[string]string{"hang": "No answer", "close": "Closed"}[r.Unanswered]}
	case r.To != "":
		return badge{"good", "check", "Taken"}
	case r.Status >= 200 && r.Status < 300:
		return badge{"good", "check", strconv.Itoa(r.Status)}
	default:
		return badge{"off", "cross", strconv.Itoa(r.Status)}
	}
}

// Where is the path or the mailbox that it came to.
func (r receivedRow) Where() string { return r.Path + r.To }

// answerForm is what the inbox is to answer with, as the form shows it.
type answerForm struct {
	Chosen     string
	Choices    []option
	RetryAfter filterField
	Error      string
}

// answerChoices are the answers to choose from: each meets another rule of retries.
var answerChoices = []option{
	{Value: "200", Text: "200: taken"}, {Value: "500", Text: "500: refused, not retried"}, {Value: "503", Text: "503: busy, retried"},
	{Value: "hang", Text: "No answer: Herald waits and gives up"}, {Value: "close", Text: "No answer: the connection is closed"},
}

// hasInbox reports whether there is an inbox, and it is a client's.
func (p *portal) hasInbox(client uuid.UUID) bool {
	return p.Inbox != nil && client != uuid.Nil && p.Inbox.Owner() == client
}

// nextReceived returns a channel that is closed when the next one has come to a client's inbox; nil without one.
func (p *portal) nextReceived(client uuid.UUID) <-chan struct{} {
	if !p.hasInbox(client) {
		return nil
	}
	return p.Inbox.Came()
}

// checkInbox returns CodeNotFound when the client has no inbox.
func (p *portal) checkInbox(v visit) error {
	if p.hasInbox(v.client.ID) {
		return nil
	}
	return herald.Errorf(herald.CodeNotFound, "There is no inbox here. herald dev has one, for the client that it makes.")
}

// newestReceived returns what came for the client, newest first. What names another client is left out.
func (p *portal) newestReceived(v visit) []receivedRow {
	var rows []receivedRow
	for _, r := range p.Inbox.Newest() {
		row := receivedRow{Received: r, Href: v.client.path(inboxPath + "/" + strconv.FormatInt(r.N, 10))}
		var body struct {
			RuleType, Message string
			ClientId, AlertId uuid.UUID //nolint:revive // names of the delivered body
		}
		switch {
		case r.To != "":
			row.Kind, row.Message = "Mail", r.Headers.Get("Subject")
		case json.Unmarshal(r.Body, &body) == nil && body.RuleType != "":
			row.Kind, row.Message, row.AlertID, row.client = body.RuleType, body.Message, body.AlertId, body.ClientId
		default:
			row.Kind, row.Message = "Not an alert", cutText(string(r.Body), 200)
		}
		if row.client == uuid.Nil || row.client == v.client.ID {
			rows = append(rows, row)
		}
	}
	return rows
}

// inbox shows what came to the inbox, and the answer that it gives.
func (p *portal) inbox(_ *http.Request, v visit) (answer, error) {
	if err := p.checkInbox(v); err != nil {
		return answer{}, err
	}
	return page("inbox.html", "Inbox", p.inboxOf(v, formOf(p.Inbox.Answer()))), nil
}

func (p *portal) inboxOf(v visit, form answerForm) inboxView {
	rows := p.newestReceived(v)
	reason := v.mayNot()
	show := inboxView{Client: v.client, Answer: form, Set: action{v.client.path(inboxPath), reason}, Clear: action{v.client.path(inboxPath + "/clear"), reason}}
	show.Rows = rows[:min(len(rows), inboxRows)]
	show.More = len(rows) - len(show.Rows)
	return show
}

// formOf shows an answer in the form. One that a command has set may be none of the choices.
func formOf(a devinbox.Answer) answerForm {
	form := answerForm{Choices: answerChoices, Chosen: strconv.Itoa(max(a.Status, http.StatusOK))}
	switch {
	case a.Hang:
		form.Chosen = "hang"
	case a.Close:
		form.Chosen = "close"
	}
	if a.RetryAfter > 0 {
		form.RetryAfter.Value = strconv.Itoa(a.RetryAfter)
	}
	if !slices.ContainsFunc(answerChoices, func(o option) bool { return o.Value == form.Chosen }) {
		form.Choices = append(slices.Clone(answerChoices), option{Value: form.Chosen, Text: form.Chosen})
	}
	return form
}

// setAnswer sets what the inbox answers with.
func (p *portal) setAnswer(r *http.Request, v visit) (answer, error) {
	if err := p.checkInbox(v); err != nil {
		return answer{}, err
	}
	chosen, after := r.PostForm.Get("answer"), strings.TrimSpace(r.PostForm.Get("retryAfter"))
	a := devinbox.Answer{Hang: chosen == "hang", Close: chosen == "close"}
	form := formOf(a)
	form.Chosen, form.RetryAfter.Value = chosen, after
	var err error
	if !a.Hang && !a.Close {
		if a.Status, err = strconv.Atoi(chosen); err != nil || a.Status == 0 {
			return answer{}, herald.Invalid("answer", "The answer %.40q is none of those that the form has.", chosen)
		}
		if form.RetryAfter.Error = readSeconds(after, &a.RetryAfter); form.RetryAfter.Error == "" {
			if err := a.Check(); err != nil {
				form.RetryAfter.Error = sentence(err.Error())
			}
		}
	}
	if form.RetryAfter.Error != "" {
		refused := page("inbox.html", "Inbox", p.inboxOf(v, form))
		refused.status = http.StatusUnprocessableEntity
		return refused, nil
	}
	if err := p.Inbox.SetAnswer(a); err != nil {
		return answer{}, herald.Invalid("answer", "The answer cannot be set: %v.", err)
	}
	return seeOther("%s?notice=answer-set", v.client.path(inboxPath)), nil
}

// readSeconds reads a number of seconds, and returns what is wrong with it.
func readSeconds(text string, into *int) string {
	if text == "" {
		return ""
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return "That is no number of seconds such as 30."
	}
	*into = n
	return ""
}

// clearInbox forgets what came.
func (p *portal) clearInbox(_ *http.Request, v visit) (answer, error) {
	if err := p.checkInbox(v); err != nil {
		return answer{}, err
	}
	p.Inbox.Clear()
	return seeOther("%s", v.client.path(inboxPath)), nil
}

// receivedView is what the page of one webhook or mail shows.
type receivedView struct {
	receivedRow
	Client  client
	Headers []header
	Body    payload
	At      time.Time
}

// received shows a webhook or a mail that came.
func (p *portal) received(r *http.Request, v visit) (answer, error) {
	if err := p.checkInbox(v); err != nil {
		return answer{}, err
	}
	rows := p.newestReceived(v)
	i := slices.IndexFunc(rows, func(row receivedRow) bool { return strconv.FormatInt(row.N, 10) == r.PathValue("received") })
	if i < 0 {
		return answer{}, herald.Errorf(herald.CodeNotFound, "The inbox does not have this any more. It keeps the newest, and forgets all when herald dev ends.")
	}
	show := receivedView{receivedRow: rows[i], Client: v.client, Headers: receivedHeaders(rows[i].Headers), At: rows[i].Received.At}
	body := []byte(rows[i].Body)
	var text string
	if json.Unmarshal(body, &text) == nil { // what came was no JSON, and is kept as a string
		body = []byte(text)
	}
	show.Body = payloadOf(body, true, r.URL.Query().Get("all") == "body")
	show.Body.All = show.Href + "?all=body"
	return page("received.html", show.Kind, show), nil
}

// receivedHeaders returns headers by name. Of the Authorization header only the scheme is shown, as everywhere.
func receivedHeaders(of http.Header) (all []header) {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		for _, value := range of[name] {
			if http.CanonicalHeaderKey(name) == "Authorization" {
				scheme, _, more := strings.Cut(value, " ")
				if value = "…"; more {
					value = scheme + " …"
				}
			}
			all = append(all, header{name, value})
		}
	}
	return all
}
