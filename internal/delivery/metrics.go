package delivery

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/fairqueue"
	"herald/internal/policy"
	"herald/internal/work"
)

// Values of the label kind.
const (
	kindWebhook = "webhook"
	kindMail    = "mail"
)

var kinds = []string{kindWebhook, kindMail}

// kindOf returns the kind of a delivery's receiver.
func kindOf(d *work.Item) string {
	if d.Origin == herald.MailScheme {
		return kindMail
	}
	return kindWebhook
}

// metrics count what this node does. All of their series exist from the start: without a first value of
// 0, rate() and increase() miss the first event.
type metrics struct {
	events   prometheus.Counter
	alerts   prometheus.Counter
	slowed   prometheus.Counter
	spilled  prometheus.Counter
	attempts *prometheus.CounterVec
	ended    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	lag      *prometheus.HistogramVec
	nodes    prometheus.Gauge
	dead     prometheus.Counter
}

// attemptBuckets reach from a receiver in the same house to the longest attempt that the options allow.
func attemptBuckets(longest time.Duration) []float64 {
	return above(longest, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
}

// lagBuckets reach from an idle service to the age at which a delivery expires.
func lagBuckets(longest time.Duration) []float64 {
	return above(longest, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 4*3600, 24*3600, 7*24*3600)
}

// above returns buckets whose largest lies above longest: what ended by that limit is not counted among
// what took no end.
func above(longest time.Duration, buckets ...float64) []float64 {
	if limit := longest.Seconds(); limit >= buckets[len(buckets)-1] {
		buckets = append(buckets, 1.5*limit)
	}
	return buckets
}

// newMetrics registers the engine's metrics. A nil registerer measures nothing.
func newMetrics(e *Engine) *metrics {
	m := &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_events_accepted_total", Help: "Events that this node accepted, without repeats by an idempotency key.",
		}),
		alerts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_alerts_raised_total", Help: "Alerts that the accepted events raised, on this node.",
		}),
		slowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_publishes_slowed_total", Help: "Publishes that waited for room in this node's memory before their commit.",
		}),
		spilled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_deliveries_spilled_total", Help: "New deliveries that found no room in this node's memory and waited in the database to be claimed.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_attempts_total", Help: "Attempts that this node made, by kind of receiver, outcome, reason and class of status.",
		}, []string{"kind", "outcome", "reason", "status"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_deliveries_ended_total", Help: "Deliveries that ended, with an attempt or without, by state.",
		}, []string{"state"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "herald_attempt_duration_seconds", Help: "How long this node's attempts took, by kind of receiver.",
			Buckets: attemptBuckets(e.LongestAttempt),
		}, []string{"kind"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "herald_delivery_lag_seconds", Help: "How long after an alert was raised, or a redelivery made, this node delivered it, by kind of receiver.",
			Buckets: lagBuckets(max(e.Policy.MaxAge, e.MailPolicy.MaxAge) + e.LongestAttempt),
		}, []string{"kind"}),
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "herald_nodes", Help: "Nodes on the database, as this node sees them: take the maximum of all nodes.",
		}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_nodes_declared_dead_total", Help: "Other nodes that this node declared dead: take the sum of all nodes.",
		}),
	}
	m.nodes.Set(1)
	m.exist(e.Policy, e.MailPolicy)
	if e.Metrics == nil {
		return m
	}
	e.Metrics.MustRegister(m.events, m.alerts, m.slowed, m.spilled, m.attempts, m.ended, m.duration, m.lag, m.nodes, m.dead, newBacklogMetrics(e))
	e.registerGauges()
	return m
}

// exist makes the series of all known values of the labels.
func (m *metrics) exist(webhooks, mails policy.Policy) {
	for _, state := range []herald.State{herald.Delivered, herald.Failed, herald.Cancelled} {
		m.ended.WithLabelValues(state.String())
	}
	for _, kind := range kinds {
		m.duration.WithLabelValues(kind)
		m.lag.WithLabelValues(kind)
		p := webhooks
		if kind == kindMail {
			p = mails
		}
		for _, reason := range append(herald.Reasons(), herald.ReasonNone) {
			if slices.Contains(notOfAttempts, reason) {
				continue
			}
			for _, status := range statusesOf(reason) {
				// The first attempt, the last one, and one that is too late for another.
				for _, past := range []struct {
					retries int
					age     time.Duration
				}{{0, 0}, {len(p.Schedule), 0}, {0, p.MaxAge}} {
					d := p.Decide(policy.Result{Reason: reason, Status: status}, past.retries, time.Time{}.Add(past.age), time.Time{}, 0)
					m.attempts.WithLabelValues(kind, string(d.Outcome), string(reason), statusClass(status))
				}
			}
		}
	}
}

// notOfAttempts are the reasons that deliveries have, and attempts never.
var notOfAttempts = []herald.Reason{herald.ReasonExhausted, herald.ReasonExpired, herald.ReasonCancelled, herald.ReasonClientDeleted, herald.ReasonUnsubscribed,
	herald.ReasonContentMissing, herald.ReasonMailLimit, herald.ReasonUnconfirmed}

// statusesOf returns statuses that the attempts with a reason can have: one of each class, and a
// transient one.
func statusesOf(r herald.Reason) []int {
	switch r {
	case herald.ReasonNone:
		return []int{200}
	case herald.ReasonStatus:
		return []int{300, 400, 429, 500, 503, 600}
	case herald.ReasonRedirect, herald.ReasonNoConsent, herald.ReasonAttemptLimit, herald.ReasonLocal: // also after a redirect
		return []int{0, 300}
	default:
		return []int{0}
	}
}

// statusClasses are the classes of an HTTP status or an SMTP reply, by their first digit.
var statusClasses = [...]string{"none", "other", "2xx", "3xx", "4xx", "5xx"}

// statusClass returns the class of a status; none without a response, other outside of 200 to 599.
func statusClass(status int) string {
	switch class := status / 100; {
	case status == 0:
		return "none"
	case class < 2 || class > 5:
		return "other"
	default:
		return statusClasses[class]
	}
}

// registerGauges registers the metrics that show the engine's present state.
func (e *Engine) registerGauges() {
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"herald_clock_jump_seconds", "How far the system's clock, or the database's, is ahead of the clock that is used.", func() float64 { return e.Clock.Jump().Seconds() }},
		{"herald_sending_paused", "1 while sending pauses because all attempts fail for a fault of this service.", func() float64 {
			if e.Paused() != "" {
				return 1
			}
			return 0
		}},
		{"herald_window_deliveries", "Deliveries in memory.", e.ofWindow(func(s fairqueue.Stats) int { return s.Items })},
		{"herald_window_bytes", "Bytes of deliveries in memory.", e.ofWindow(func(s fairqueue.Stats) int { return s.Bytes })},
		{"herald_attempts_in_flight", "Attempts under way.", e.ofWindow(func(s fairqueue.Stats) int { return s.InFlight })},
		{"herald_lanes", "Lanes known in memory.", e.ofWindow(func(s fairqueue.Stats) int { return s.Lanes })},
		{"herald_lanes_spilled", "Lanes with a backlog in the database.", e.ofWindow(func(s fairqueue.Stats) int { return s.Spilled })},
		{"herald_attempts_in_flight_slow", "Attempts under way in slow lanes.", e.ofWindow(func(s fairqueue.Stats) int { return s.SlowInFlight })},
	} {
		e.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value))
	}
}

func (e *Engine) ofWindow(value func(fairqueue.Stats) int) func() float64 {
	return func() float64 { return float64(value(e.stats())) }
}

// accepted counts events that were committed, and the alerts that they raised.
func (m *metrics) accepted(events []work.PreparedEvent, committed func(i int) bool) {
	n, alerts := 0, 0
	for i := range events {
		if committed(i) {
			n++
			alerts += len(events[i].Alerts)
		}
	}
	m.events.Add(float64(n))
	m.alerts.Add(float64(alerts))
}

func (m *metrics) attempt(r work.Result) {
	kind := kindOf(&r.Item)
	m.attempts.WithLabelValues(kind, string(r.Attempt.Outcome), string(r.Attempt.Reason), statusClass(r.Attempt.Status)).Inc()
	took := r.Attempt.Timings.Total / 1000
	m.duration.WithLabelValues(kind).Observe(took)
	if r.State == herald.Delivered {
		m.lag.WithLabelValues(kind).Observe(max(r.Attempt.At.Sub(r.Item.MadeAt).Seconds()+took, 0))
	}
}
