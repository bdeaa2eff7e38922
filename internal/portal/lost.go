package portal

import (
	"context"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of counting what could be recovered of the issues on one page.
const (
	maxLost  = 100                    // deliveries of an issue
	lostTime = 100 * time.Millisecond // after which no other issue is counted
)

// lost is how many failed deliveries of an issue have not reached their receiver since.
type lost struct {
	atLeast
	Known bool
}

// None says that nothing is left to recover.
func (l lost) None() bool { return l.Known && l.atLeast == atLeast{} }

// Button is the text of what leads to the recovery.
func (l lost) Button() string {
	switch {
	case !l.Known || l.N == 0:
		return "Recover…"
	case l.More:
		return "Recover more than " + number(l.N) + "…"
	case l.N == 1:
		return "Recover this one…"
	}
	return "Recover these " + number(l.N) + "…"
}

// countLost counts what could be recovered of issues. What takes too long is not known then.
func (p *portal) countLost(ctx context.Context, v visit, all ...[]issueRow) error {
	began := time.Now()
	for _, rows := range all {
		for n := range rows {
			if rows[n].Failed == 0 || time.Since(began) >= lostTime {
				continue
			}
			f := rows[n].filter()
			f.State, f.Unrepeated, f.Limit = new(herald.Failed), true, maxLost+1
			found, next, err := p.Deliveries.Deliveries(ctx, v.client.ID, f)
			switch {
			case herald.CodeOf(err) == herald.CodeUnavailable:
			case err != nil:
				return err
			case len(found) > 0 || next == uuid.Nil:
				rows[n].Lost = lost{atLeast{min(len(found), maxLost), len(found) > maxLost || next != uuid.Nil}, true}
			}
		}
	}
	return nil
}
