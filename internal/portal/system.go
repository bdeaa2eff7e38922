package portal

import (
	"context"
	"fmt"
	"net/http"
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
	return page("system.html", "System", show), nil
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
