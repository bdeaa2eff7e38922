package store

import (
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// attemptsSQL reads the attempts of a delivery. Of those with a record, only n is used beside it.
const attemptsSQL = `SELECT n, at, outcome, status, reason, error, timings, request, response, record FROM attempts WHERE delivery_id = $1
UNION ALL SELECT attempt, 0, '', 0, '', '', NULL, NULL, NULL, record FROM deliveries WHERE id = $1 AND attempt IS NOT NULL ORDER BY n`

// scanAttempt adds the size of the attempt to size, in bytes.
func scanAttempt(rows *sql.Rows, delivery uuid.UUID, size *int) (herald.Attempt, error) {
	var (
		a                                  herald.Attempt
		at                                 int64
		timings, request, response, record []byte
	)
	err := rows.Scan(&a.N, &at, &a.Outcome, &a.Status, &a.Reason, &a.Error, &timings, &request, &response, &record)
	if err != nil {
		return a, err
	}
	*size += work.RowSize + len(a.Error) + len(timings) + len(request) + len(response) + len(record)
	if record != nil {
		n := a.N
		a, err = decodeAttempt(record)
		a.DeliveryID, a.N = delivery, n
		return a, err
	}
	a.DeliveryID, a.At = delivery, fromMicros(at)
	for _, part := range []struct { // of an older version
		text []byte
		into any
	}{{timings, &a.Timings}, {request, &a.Request}, {response, &a.Response}} {
		if part.text != nil {
			err = errors.Join(err, json.Unmarshal(part.text, part.into))
		}
	}
	return a, err
}
