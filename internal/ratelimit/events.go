package ratelimit

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

// The types of the events that Events raises (spec sections 8.12 and 8.13).
const (
	reachedType = "Rate Limit Reached"
	resetType   = "Rate Limit Reset"
)

// Bounds of Events. What is beyond them is lost, and logged.
const (
	// maxQueued bounds the clients that have reached their limit and whose event is not raised yet.
	maxQueued = 1000
	// maxWaiting bounds the clients whose window has not ended since.
	maxWaiting = 10_000
	// raisePatience bounds how long raising one event may take.
	raisePatience = 10 * time.Second
)

// timeFormat is that of times in headers and events: ISO 8601 in UTC (spec section 2.1).
const timeFormat = "2006-01-02T15:04:05.000Z"

// Publisher accepts events, see Publish of internal/intake.
type Publisher interface {
	Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error)
}

// Rules reports whether a client has rules of an event type. It is false for a client that does not
// exist.
type Rules func(ctx context.Context, client uuid.UUID, eventType string) (bool, error)

// Events raises Rate Limit Reached when a Limiter refuses the first request of a client in a window,
// and Rate Limit Reset when that window ends. A client without a rule of the type gets none. Raising
// is no request of the client: it does not count, and is not refused.
//
// Like the windows, this is in memory and for each node: each node raises at most one of both in a
// window. What is not raised yet when the service stops, or cannot be published, is lost and logged.
type Events struct {
	publisher Publisher
	rules     Rules
	log       *slog.Logger

	queue   chan window
	waiting []window // has reached its limit; by end, the latest first
}

// window is a client's window in which it has reached its limit.
type window struct {
	client uuid.UUID
	limit  int
	ends   time.Time
}

// NewEvents returns an Events, which raises nothing before Run.
func NewEvents(p Publisher, rules Rules, log *slog.Logger) *Events {
	return &Events{publisher: p, rules: rules, log: log, queue: make(chan window, maxQueued)}
}

// reached notes a client that has reached its limit. It does not block.
func (e *Events) reached(w window) {
	select {
	case e.queue <- w:
	default:
		e.lost(reachedType, w.client, "too many clients have reached their limit at once")
	}
}

// Run raises the events until ctx ends.
func (e *Events) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if n := len(e.queue) + len(e.waiting); n > 0 {
				e.log.Warn("rate-limit events are lost: the service stops", "clients", n)
			}
			return
		case <-timer.C:
			e.reset(ctx)
		case w := <-e.queue:
			e.reset(ctx) // of an earlier window of the client comes first
			e.raise(ctx, w.client, reachedType, reachedData{w.limit, w.ends.UTC().Format(timeFormat)})
			e.wait(w)
		}
		if n := len(e.waiting); n > 0 {
			timer.Reset(time.Until(e.waiting[n-1].ends))
		}
	}
}

// wait adds a window to those whose end is waited for.
func (e *Events) wait(w window) {
	if len(e.waiting) >= maxWaiting {
		e.lost(resetType, w.client, "too many clients have reached their limit")
		return
	}
	at, _ := slices.BinarySearchFunc(e.waiting, w, func(a, b window) int { return b.ends.Compare(a.ends) })
	e.waiting = slices.Insert(e.waiting, at, w)
}

// reset raises the events of the windows that have ended.
func (e *Events) reset(ctx context.Context) {
	for n := len(e.waiting); n > 0 && !time.Now().Before(e.waiting[n-1].ends) && ctx.Err() == nil; n-- {
		w := e.waiting[n-1]
		e.waiting = e.waiting[:n-1]
		e.raise(ctx, w.client, resetType, resetData{
			QuotaRemaining: w.limit, ResetReason: "The quota was reset because its rate window has ended.", DailyQuota: w.limit,
		})
	}
}

// reachedData is the data of Rate Limit Reached (spec section 8.12).
type reachedData struct {
	DailyQuota int
	ExpiresUtc string
}

// resetData is the data of Rate Limit Reset (spec section 8.13).
type resetData struct {
	QuotaRemaining int
	ResetReason    string
	DailyQuota     int
	ExpiresUtc     *string // null: the next window begins with the client's next request
}

// raise publishes an event to the client's rules, if it has some.
func (e *Events) raise(ctx context.Context, client uuid.UUID, eventType string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic("ratelimit: data that is no JSON: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, raisePatience)
	defer cancel()
	has, err := e.rules(ctx, client, eventType)
	if err == nil && has {
		_, err = e.publisher.Publish(ctx, herald.Caller{Operator: true}, []herald.Publication{{
			Event: herald.Event{ClientID: client, Type: eventType, Data: text},
		}})
	}
	if err != nil {
		e.lost(eventType, client, err.Error())
	}
}

func (e *Events) lost(eventType string, client uuid.UUID, cause string) {
	e.log.Warn("a rate-limit event is lost", "eventType", eventType, "clientId", client.String(), "error", cause)
}
