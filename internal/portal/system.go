package portal

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"herald"
)

// systemClients is how many clients the page about the system lists with their backlog.
const systemClients = 10

// systemView is what the page about the system shows.
type systemView struct {
	herald.Status
	Names   map[uuid.UUID]string // of the clients that are shown
	Backlog []herald.ClientBacklog
	Others  int // how many clients have a backlog besides
	// Failing are open issues, and OtherFailing how many more there are.
	Failing      []issueRow
	OtherFailing atLeast
	Lines        [][]linePart // what needs attention
}

// maxLines bounds what needs attention on the page; each line may name a client.
const maxLines = 20

// failingRows is how many receivers that fail the page lists.
const failingRows = 20

// linePart is a text, a client or a time of a line.
type linePart struct {
	Text   string
	Client *client
	At     time.Time
}

// named are the ids and times in what needs attention.
var named = regexp.MustCompile(`\b(?:client )?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b|\b\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)`)

// lineOf splits a line, so that clients have their names, and times are shown like all others.
func (p *portal) lineOf(ctx context.Context, names map[uuid.UUID]string, text string) (parts []linePart, err error) {
	from := 0
	text = statement(text)
	for _, at := range named.FindAllStringSubmatchIndex(text, -1) {
		var part linePart
		if at[2] >= 0 {
			id, err := uuid.Parse(text[at[2]:at[3]])
			if err == nil {
				err = p.addName(ctx, names, id)
			}
			if err != nil {
				return nil, err
			}
			part.Client = &client{id, names[id]}
		} else if part.At, err = time.Parse(time.RFC3339, text[at[0]:at[1]]); err != nil {
			continue // it stays text
		}
		parts = append(parts, linePart{Text: text[from:at[0]]}, part)
		from = at[1]
	}
	return append(parts, linePart{Text: text[from:]}), nil
}

// Of returns a client to be shown.
func (s systemView) Of(id uuid.UUID) client { return client{id, s.Names[id]} }

// Pending says how many deliveries are pending.
func (s systemView) Pending() string {
	b := s.Status.Backlog
	if b == nil {
		return "not known"
	}
	if b.AtLeast {
		return "at least " + number(b.Pending)
	}
	return number(b.Pending)
}

// OldestDue is since when the oldest delivery is due; zero if none is.
func (s systemView) OldestDue() time.Time {
	if b := s.Status.Backlog; b != nil && b.OldestDue != nil {
		return *b.OldestDue
	}
	return time.Time{}
}

// Parts says what the pending deliveries wait for.
func (s systemView) Parts() string {
	b := s.Status.Backlog
	if b == nil || b.Pending == 0 {
		return ""
	}
	return fmt.Sprintf("%s due now, %s due later, %s with a node", number(b.Ready), number(b.Waiting), number(b.Held))
}

// Size is the size of the database on disk.
func (s systemView) Size() string {
	if s.Database == nil {
		return "does not answer"
	}
	return s.Database.Kind + ", " + byteSize(int(s.Database.Bytes))
}

// Growth says how much larger the database is than a day and a week ago; empty if it does not answer.
func (s systemView) Growth() string {
	if s.Database == nil {
		return ""
	}
	return "24 hours: " + grown(s.Database.Day) + "; 7 days: " + grown(s.Database.Week)
}

// grown says how much larger something is, with a sign.
func grown(g *herald.Growth) string {
	switch {
	case g == nil:
		return "not known yet"
	case g.Bytes < 0:
		return "−" + byteSize(int(-g.Bytes))
	}
	return "+" + byteSize(int(g.Bytes))
}

// Retention is how long history is kept.
func (s systemView) Retention() string {
	if s.RetentionDays == 1 {
		return "1 day"
	}
	return strconv.FormatFloat(s.RetentionDays, 'g', 4, 64) + " days"
}

// OwnBackups says that herald backup is how this database is backed up.
func (s systemView) OwnBackups() bool { return s.Database == nil || s.Database.Kind == "SQLite" }

// system shows how the service is.
func (p *portal) system(r *http.Request, _ visit) (answer, error) {
	status, err := p.Operator.Status(r.Context())
	if err != nil {
		return answer{}, err
	}
	show := systemView{Status: status, Names: make(map[uuid.UUID]string), Backlog: status.Clients[:min(len(status.Clients), systemClients)]}
	show.Others = len(status.Clients) - len(show.Backlog)
	for _, b := range show.Backlog {
		if err := p.addName(r.Context(), show.Names, b.ClientID); err != nil {
			return answer{}, err
		}
	}
	for _, s := range show.SlowReceivers {
		if err := p.addName(r.Context(), show.Names, s.ClientID); err != nil {
			return answer{}, err
		}
	}
	if err := p.addFailing(r.Context(), &show); err != nil {
		return answer{}, err
	}
	for _, text := range status.Attention[:min(len(status.Attention), maxLines)] {
		line, err := p.lineOf(r.Context(), show.Names, text)
		if err != nil {
			return answer{}, err
		}
		show.Lines = append(show.Lines, line)
	}
	return page("system.html", "System", show), nil
}

// addFailing lists what fails, of all clients: first what nobody takes care of, and where most deliveries failed.
func (p *portal) addFailing(ctx context.Context, show *systemView) error {
	f, err := p.allFailing(ctx)
	if err != nil {
		return err
	}
	receivers, clients := 0, 0
	for _, h := range f.clients {
		if receivers += len(h.failing); len(h.failing) > 0 {
			clients++
		}
	}
	if receivers > 0 {
		text := fmt.Sprintf("%d receivers of %s fail.", receivers, plural(clients, "client", "clients"))
		if receivers == 1 {
			text = "1 receiver fails."
		}
		if f.part {
			text = "At least " + text
		}
		show.Lines = append(show.Lines, []linePart{{Text: text}})
	}
	slices.SortStableFunc(f.open, func(a, b herald.Issue) int {
		return cmp.Or(known(issueRow{Issue: a})-known(issueRow{Issue: b}), b.Failed-a.Failed, a.BeganAt.Compare(b.BeganAt))
	})
	for _, i := range f.open[:min(len(f.open), failingRows)] {
		if err := p.addName(ctx, show.Names, i.ClientID); err != nil {
			return err
		}
		show.Failing = append(show.Failing, issueRow{Issue: i, client: show.Of(i.ClientID)})
	}
	show.OtherFailing = atLeast{len(f.open) - len(show.Failing), f.part}
	return nil
}

// addName looks up the name of a client that may have been deleted meanwhile.
func (p *portal) addName(ctx context.Context, names map[uuid.UUID]string, id uuid.UUID) error {
	if _, known := names[id]; known {
		return nil
	}
	c, err := p.Clients.Client(ctx, id)
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound:
		names[id] = "a deleted client"
	case err != nil:
		return err
	default:
		names[id] = c.Profile.Name
	}
	return nil
}
