package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"herald"
)

// StatisticsFilter selects statistics. A member with the zero value selects all, or the default.
type StatisticsFilter struct {
	// By is what each line is about; empty means herald.ByHour.
	By herald.StatisticsBy
	// Client selects one client; only for the operator's key. A client's key gets its own.
	Client   uuid.UUID
	Receiver string // a webhook or a mailbox, in any spelling
	// The hours of Since and Until are the first and the last. By default they are those of
	// the last 24 hours. They may be 35 days apart at most.
	Since, Until time.Time
	Limit        int // of lines by receiver or by outcome; 0 means 100, at most 1000
}

// Statistics are counts of attempts and deliveries.
type Statistics struct {
	By    herald.StatisticsBy `json:"by"`
	Since time.Time           `json:"since"` // when the first hour begins
	Until time.Time           `json:"until"` // when the last hour ends
	// LatencyBounds are the upper bounds of the buckets of herald.Latency, in milliseconds.
	LatencyBounds []float64 `json:"latencyBoundsMs"`
	// Results are by hour the lines of all hours, otherwise the busiest lines first.
	Results []StatisticsLine `json:"results"`
	More    bool             `json:"more,omitempty"` // there are more lines than the limit
}

// StatisticsLine is one line of Statistics.
type StatisticsLine struct {
	herald.Statistics
	// SuccessRate is delivered deliveries by delivered and failed ones, from 0 to 1; nil if there are none.
	SuccessRate *float64 `json:"successRate,omitempty"`
}

// Statistics counts attempts and deliveries. What was recorded some seconds ago may be missing.
func (c *API) Statistics(ctx context.Context, f StatisticsFilter) (Statistics, error) {
	v := url.Values{}
	for name, value := range map[string]string{"by": string(f.By), "receiver": f.Receiver} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if f.Client != uuid.Nil {
		v.Set("client", f.Client.String())
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if f.Limit != 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	return get[Statistics](ctx, c, "/statistics", v)
}
