package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Statistics adds up statistics. By hour there is a line for every hour of the filter, the earliest
// first, by receiver or by outcome a line for each that has counts: those with most of them first, up
// to the filter's limit. more says that there are more than that. What was recorded less than some
// seconds ago may be missing. The error is CodeInvalid if there is too much to add up (statisticsLimit).
func (s *Store) Statistics(ctx context.Context, f herald.StatisticsFilter) (found []herald.Statistics, more bool, err error) {
	ctx, done, err := s.readTurn(ctx, f.Client)
	if err != nil {
		return nil, false, err
	}
	defer done()
	from, to := f.Hours()
	var c conditions
	c.add("hour >= %s", from)
	c.add("hour < %s", to)
	c.parts = append(c.parts, "hour >= (SELECT kept_hour FROM history)")
	if f.Client != uuid.Nil {
		c.add("client_id = %s", f.Client)
	}
	receivers, err := s.spellings(ctx, f.Client, f.Receiver, herald.ReceiverOf)
	if err != nil {
		return nil, false, err
	}
	c.receiver("receiver", receivers)
	if err := s.checkStatisticsSize(ctx, f, from, to); err != nil {
		return nil, false, err
	}
	group, order, limit := "receiver", "ORDER BY 9 DESC, receiver LIMIT ", f.Limit+1
	switch f.By {
	case herald.ByHour:
		group, order, limit = "hour", "ORDER BY hour LIMIT ", int(to.Sub(from)/time.Hour)
	case herald.ByOutcome:
		group, order = "reason", "ORDER BY 9 DESC, reason LIMIT "
	}
	found, err = list(ctx, s.lists, func(rows *sql.Rows) (herald.Statistics, error) { return scanStatistics(rows, f.By) },
		`SELECT `+group+sumsOfStatistics+` FROM statistics WHERE `+c.where()+` GROUP BY `+group+` `+order+c.bind(limit), c.args...)
	if err != nil {
		return nil, false, s.failed("read statistics", err)
	}
	if f.By == herald.ByHour {
		return everyHour(found, from, to), false, nil
	}
	if more = len(found) > f.Limit; more {
		found = found[:f.Limit]
	}
	return found, more, nil
}

// statisticsLimit is how many rows of statistics one question over all clients may add up. A row is for a
// client, an hour, a receiver and a reason. A question must end within readDeadline also on a busy machine.
// A question about one client may read twice as many, as its rows are beside each other: that is enough for
// a week of herald.StatisticsReceivers receivers, each with successes and a failure in every hour.
const statisticsLimit = 200_000

// checkStatisticsSize returns an error for a question that would read too many rows. It names the earliest
// time since which there are not too many.
func (s *Store) checkStatisticsSize(ctx context.Context, f herald.StatisticsFilter, from, to time.Time) error {
	var c conditions
	c.add("hour >= %s", from)
	c.add("hour < %s", to)
	limit := s.statisticsLimit
	if f.Client != uuid.Nil {
		c.add("client_id = %s", f.Client)
		limit *= 2
	}
	// In the order of an index, which is all that is read.
	over, err := first(ctx, s.lists, scanInt, `SELECT hour FROM statistics WHERE `+c.where()+` ORDER BY hour DESC LIMIT 1 OFFSET `+c.bind(limit), c.args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return s.failed("count statistics", err)
	}
	var ways []string
	if since := fromMicros(over).UTC().Add(time.Hour); since.Before(to) {
		ways = append(ways, "since "+since.Format(time.RFC3339)+" or later")
	}
	if f.Client == uuid.Nil {
		ways = append(ways, "for one client (client)")
	}
	return herald.Invalid("since", "From %s until %s there are more than %d lines to add up, one for each client, hour, receiver and reason. Ask %s.",
		from.Format(time.RFC3339), to.Format(time.RFC3339), limit, strings.Join(ways, ", or "))
}

// sumsOfStatistics are the columns that Statistics reads after what it groups by. The 9th column of all is
// the number of attempts and deliveries.
const sumsOfStatistics = `,
CAST(sum(attempts_delivered) AS bigint), CAST(sum(attempts_retry) AS bigint), CAST(sum(attempts_rejected) AS bigint), CAST(sum(attempts_unknown) AS bigint),
CAST(sum(deliveries_delivered) AS bigint), CAST(sum(deliveries_failed) AS bigint), CAST(sum(deliveries_cancelled) AS bigint),
CAST(sum(attempts_delivered + attempts_retry + attempts_rejected + attempts_unknown + deliveries_delivered + deliveries_failed + deliveries_cancelled) AS bigint),
CAST(sum(latency_0) AS bigint), CAST(sum(latency_1) AS bigint), CAST(sum(latency_2) AS bigint), CAST(sum(latency_3) AS bigint), CAST(sum(latency_4) AS bigint),
CAST(sum(latency_5) AS bigint), CAST(sum(latency_6) AS bigint), CAST(sum(latency_7) AS bigint), CAST(sum(latency_8) AS bigint), CAST(sum(latency_9) AS bigint),
CAST(sum(latency_10) AS bigint), CAST(sum(latency_11) AS bigint), CAST(sum(latency_12) AS bigint), max(last_success), max(last_failure)`

func scanStatistics(rows *sql.Rows, by herald.StatisticsBy) (line herald.Statistics, err error) {
	var (
		hour, total int64
		counted     sum
		group       any = &line.Receiver
	)
	switch by {
	case herald.ByHour:
		group = &hour
	case herald.ByOutcome:
		group = &line.Reason
	}
	const before = 7 // the columns of attempts and deliveries
	into := slices.Insert(counted.columns(), before, any(&total))
	if err := rows.Scan(append([]any{group}, into...)...); err != nil {
		return line, err
	}
	line.Counts = counted.counts()
	if by == herald.ByHour {
		line.Hour = fromMicros(hour).UTC()
	}
	return line, nil
}

// everyHour adds the hours without counts.
func everyHour(found []herald.Statistics, from, to time.Time) []herald.Statistics {
	all := make([]herald.Statistics, 0, int(to.Sub(from)/time.Hour))
	for hour := from; hour.Before(to); hour = hour.Add(time.Hour) {
		if len(found) > 0 && found[0].Hour.Equal(hour) {
			all, found = append(all, found[0]), found[1:]
			continue
		}
		all = append(all, herald.Statistics{Hour: hour})
	}
	return all
}

// ExpireStatistics deletes statistics of hours before the kept history, and those older than
// herald.StatisticsKept, in one step of at most step rows. It returns how many.
func (s *Store) ExpireStatistics(ctx context.Context) (n int, err error) {
	err = s.inTransaction(ctx, "delete old statistics", func(ctx context.Context, tx *sql.Tx) error {
		deleted, err := affected(tx.ExecContext(ctx, `DELETE FROM statistics WHERE (client_id, hour, receiver, reason) IN (
SELECT client_id, hour, receiver, reason FROM statistics
WHERE hour < (SELECT CASE WHEN kept_hour > trusted_at - $2 THEN kept_hour ELSE trusted_at - $2 END FROM history) ORDER BY hour LIMIT $1)`,
			step, herald.StatisticsKept.Microseconds()))
		n = int(deleted)
		return err
	})
	return n, err
}
