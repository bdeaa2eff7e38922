package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/work"
)

const alertsFrom = ` FROM alerts a JOIN events e ON e.id = a.event_id`

// alertColumns are the columns of an alert, with the size of its data and the data only if it is
// small, see listAlerts.
var alertColumns = fmt.Sprintf(`a.id, a.client_id, a.event_id, a.rule_id, a.type, a.company_id, e.connection_id, a.message,
length(e.data), CASE WHEN length(e.data) <= %d THEN e.data END, (SELECT c.name FROM clients c WHERE c.id = a.client_id)`, smallData)

// listAlerts returns the alerts of a statement that selects alertColumns and further columns for more.
// It knows the size of all before it reads large data, and reads the data of each event once.
func listAlerts(ctx context.Context, q querier, text string, args []any, more ...any) ([]herald.Alert, error) {
	var (
		page  pageBytes
		large []uuid.UUID
	)
	alerts, err := list(ctx, q, func(rows *sql.Rows) (a herald.Alert, err error) {
		var (
			size sql.NullInt64
			data []byte
		)
		err = rows.Scan(append([]any{&a.ID, &a.ClientID, &a.EventID, &a.RuleID, &a.Type, &a.CompanyID, &a.ConnectionID, &a.Message, &size, &data, &a.ClientName}, more...)...)
		if !page.add(len(a.Message) + len(a.ClientName) + int(size.Int64) + work.RowSize) {
			return herald.Alert{}, err
		}
		a.Data = data
		if size.Int64 > smallData {
			large = append(large, a.EventID)
		}
		return a, err
	}, text, args...)
	if err == nil {
		err = page.reserve(ctx)
	}
	if err != nil || len(large) == 0 {
		return alerts, err
	}
	slices.SortFunc(large, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	data, err := dataOf(ctx, q, slices.Compact(large))
	for i := range alerts {
		if text, found := data[alerts[i].EventID]; found {
			alerts[i].Data = text
		}
	}
	return alerts, err
}

// alertsOf returns the alerts with these ids. Given as values, the ids leave PostgreSQL no choice but to find
// each by its key. For a statement that selects many it may read all alerts and events instead.
func (s *Store) alertsOf(ctx context.Context, tx *sql.Tx, ids []uuid.UUID, o query.Order) ([]herald.Alert, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return listAlerts(ctx, tx, `SELECT `+alertColumns+` FROM (`+fmt.Sprintf(s.dialect.idList, "$1")+`) p JOIN alerts a ON a.id = p.id JOIN events e ON e.id = a.event_id
ORDER BY p.id`+direction(o), []any{jsonIDs(ids)})
}

// direction returns the text after ORDER BY id. Alerts are always ordered by id.
func direction(o query.Order) string {
	if o.Desc {
		return " DESC"
	}
	return ""
}

// Alert returns a client's alert. The error is CodeNotFound when there is none.
func (s *Store) Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Alert{}, err
	}
	defer done()
	found, err := listAlerts(ctx, s.lists, `SELECT `+alertColumns+alertsFrom+` WHERE a.id = $1 AND a.client_id = $2`, s.withCachedPlan(id[:], client[:]))
	if err == nil && len(found) == 0 {
		err = herald.Errorf(herald.CodeNotFound, "No alert was found with ID %s", id)
	}
	if err != nil {
		return herald.Alert{}, s.failed("read an alert", err)
	}
	return found[0], nil
}
