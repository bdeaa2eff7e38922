package delivery

import (
	"github.com/prometheus/client_golang/prometheus"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

type metrics struct {
	attempts *prometheus.CounterVec
	ended    *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, stats func() fairqueue.Stats, paused func() bool, clock Clock) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_attempts_total", Help: "Attempts made, by outcome and reason.",
		}, []string{"outcome", "reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_deliveries_ended_total", Help: "Deliveries that ended, with an attempt or without, by state.",
		}, []string{"state"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "herald_attempt_duration_seconds", Help: "How long attempts took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.attempts, m.ended, m.duration, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "herald_clock_jump_seconds", Help: "How far the system's clock, or the database's, is ahead of the clock that is used.",
	}, func() float64 { return clock.Jump().Seconds() }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "herald_sending_paused", Help: "1 while sending pauses because all attempts fail for a fault of this service.",
	}, func() float64 {
		if paused() {
			return 1
		}
		return 0
	}))
	for _, g := range []struct {
		name, help string
		value      func(fairqueue.Stats) int
	}{
		{"herald_window_deliveries", "Deliveries in memory.", func(s fairqueue.Stats) int { return s.Items }},
		{"herald_window_bytes", "Bytes of deliveries in memory.", func(s fairqueue.Stats) int { return s.Bytes }},
		{"herald_attempts_in_flight", "Attempts under way.", func(s fairqueue.Stats) int { return s.InFlight }},
		{"herald_lanes", "Lanes known in memory.", func(s fairqueue.Stats) int { return s.Lanes }},
		{"herald_lanes_spilled", "Lanes with a backlog in the database.", func(s fairqueue.Stats) int { return s.Spilled }},
		{"herald_attempts_in_flight_slow", "Attempts under way in slow lanes.", func(s fairqueue.Stats) int { return s.SlowInFlight }},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help},
			func() float64 { return float64(g.value(stats())) }))
	}
	return m
}

func (m *metrics) attempt(r work.Result) {
	m.attempts.WithLabelValues(string(r.Attempt.Outcome), string(r.Attempt.Reason)).Inc()
	m.duration.Observe(r.Attempt.Timings.Total / 1000)
}
