package native

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// Statistics reads the counts of attempts and deliveries.
type Statistics interface {
	// Statistics adds the counts up: by hour a line for every hour of the filter, otherwise a line for each
	// receiver or reason that has counts, the busiest first, up to the limit. more says that there are others.
	Statistics(ctx context.Context, f herald.StatisticsFilter) (found []herald.Statistics, more bool, err error)
}

const (
	// defaultSpan is how much is added up without since.
	defaultSpan = 24 * time.Hour
	// defaultLines is how many lines there are without a limit.
	defaultLines = 100
)

// statisticsAnswer is the answer of GET /statistics.
type statisticsAnswer struct {
	By      herald.StatisticsBy `json:"by"`
	Since   time.Time           `json:"since" doc:"When the first hour begins."`
	Until   time.Time           `json:"until" doc:"When the last hour ends."`
	Bounds  []float64           `json:"latencyBoundsMs" doc:"The upper bounds of the buckets of latency, in milliseconds. The last bucket has none."`
	Results []statisticsLine    `json:"results"`
	More    bool                `json:"more,omitempty" doc:"There are more lines than the limit; the busiest come first."`
}

type statisticsLine struct {
	herald.Statistics
	SuccessRate *float64 `json:"successRate,omitempty" doc:"Delivered deliveries by delivered and failed ones, from 0 to 1. Cancelled and pending ones do not count. Absent if none was delivered or failed."`
}

func (s *surface) registerStatistics() {
	least, most := float64(1), float64(herald.StatisticsReceivers)
	instant := huma.Schema{Type: "string", Format: "date-time"}
	call(s, huma.Operation{
		OperationID: "getStatistics", Method: http.MethodGet, Path: "/statistics", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusNotFound},
		Summary: "Count attempts and deliveries",
		Description: "An attempt counts in the hour in which it began, a delivery in the hour in which it ended. The counts follow within some seconds, and are exact then. " +
			"They are kept for 35 days, or as long as history if that is shorter. In each hour, the 1000 busiest receivers of a client have counts of their own. " +
			"If there is too much to add up, the answer is a 400 that says how to narrow the question.",
		Parameters: []*huma.Param{
			openapi.QueryParameter("by", huma.Schema{Type: "string", Enum: []any{"hour", "receiver", "outcome"}, Default: "hour"},
				"What each line is about: an hour, a receiver, or an outcome with its reason. By hour there is a line for every hour."),
			openapi.QueryParameter("client", huma.Schema{Type: "string", Format: "uuid"}, "Only this client's; for the operator, who gets those of all without it."),
			openapi.QueryParameter("receiver", huma.Schema{Type: "string"}, "Only this receiver's: a webhook or a mailbox, in any spelling. The query of a webhook does not matter."),
			openapi.QueryParameter("since", instant, "The hour of this time is the first; by default that of 24 hours before until."),
			openapi.QueryParameter("until", instant, "The hour before this time is the last; by default the present one. At most 35 days after since."),
			openapi.QueryParameter("limit", huma.Schema{Type: "integer", Minimum: &least, Maximum: &most, Default: defaultLines}, "The largest number of lines by receiver or by outcome."),
		},
	}, withAnyKey, s.getStatistics)
}

func (s *surface) getStatistics(r *http.Request, caller herald.Caller) (statisticsAnswer, error) {
	f, err := s.statisticsFilter(r, caller)
	if err != nil {
		return statisticsAnswer{}, err
	}
	found, more, err := s.Statistics.Statistics(r.Context(), f)
	if err != nil {
		return statisticsAnswer{}, err
	}
	answer := statisticsAnswer{By: f.By, More: more, Results: make([]statisticsLine, len(found))}
	answer.Since, answer.Until = f.Hours()
	for _, bound := range herald.LatencyBounds {
		answer.Bounds = append(answer.Bounds, float64(bound)/float64(time.Millisecond))
	}
	for i, line := range found {
		answer.Results[i].Statistics = line
		if rate, known := line.Deliveries.SuccessRate(); known {
			answer.Results[i].SuccessRate = &rate
		}
	}
	return answer, nil
}

func (s *surface) statisticsFilter(r *http.Request, caller herald.Caller) (herald.StatisticsFilter, error) {
	p := parametersOf(r)
	f := herald.StatisticsFilter{
		By:       parameter(p, "by", parseBy),
		Client:   p.id("client"),
		Receiver: parameter(p, "receiver", parseReceiver),
		Since:    p.time("since"),
		Until:    p.time("until"),
		Limit:    parameter(p, "limit", parseLines),
	}
	if p.err != nil {
		return f, p.err
	}
	if f.By == "" {
		f.By = herald.ByHour
	}
	if f.Limit == 0 {
		f.Limit = defaultLines
	}
	if f.Until.IsZero() {
		f.Until = s.Now()
	}
	if f.Since.IsZero() {
		f.Since = f.Until.Add(-defaultSpan)
	}
	if !caller.Operator {
		if f.Client != uuid.Nil && f.Client != caller.Key.ClientID {
			return f, herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", f.Client)
		}
		f.Client = caller.Key.ClientID
	}
	return f, checkSpan(f.Since, f.Until)
}

func checkSpan(since, until time.Time) error {
	switch {
	case since.After(until):
		return nameMember(herald.Invalid("since", "%s is after until, %s", since.Format(time.RFC3339), until.Format(time.RFC3339)))
	case until.Sub(since) > herald.StatisticsKept:
		return nameMember(herald.Invalid("since", "%s is more than 35 days before until, %s; ask for a part", since.Format(time.RFC3339), until.Format(time.RFC3339)))
	}
	return nil
}

func parseBy(text string) (herald.StatisticsBy, error) {
	switch by := herald.StatisticsBy(text); by {
	case herald.ByHour, herald.ByReceiver, herald.ByOutcome:
		return by, nil
	}
	return "", herald.Invalid("", "%q is not one of hour, receiver and outcome", short(text))
}

func parseLines(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > herald.StatisticsReceivers {
		return 0, herald.Invalid("", "%q is not a whole number from 1 to %d", short(text), herald.StatisticsReceivers)
	}
	return n, nil
}
