package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
)

// commitMetrics measure the writer.
type commitMetrics struct {
	duration prometheus.Histogram
	failed   prometheus.Counter
}

// newCommitMetrics registers the writer's metrics; a nil registerer measures nothing.
func newCommitMetrics(w *writer, r prometheus.Registerer) commitMetrics {
	m := commitMetrics{
		// A batch is begun again for retryTime and then takes batchTimeout, and its answer may be lost.
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "herald_commit_duration_seconds", Help: "How long batches of accepted events and results took to commit and sync, on this node.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_commit_failures_total", Help: "Batches of accepted events and results that the database did not take, on this node.",
		}),
	}
	if r != nil {
		r.MustRegister(m.duration, m.failed, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "herald_commit_waiting_bytes", Help: "Bytes of accepted events and results that wait to be committed, on this node.",
		}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return float64(w.bytes)
		}))
	}
	return m
}

// committed measures a batch that began at began and ended with an error of failed, or nil. An error of
// one request alone is no failure of the database.
func (m commitMetrics) committed(began time.Time, err error) {
	m.duration.Observe(time.Since(began).Seconds())
	if herald.CodeOf(err) == herald.CodeUnavailable {
		m.failed.Inc()
	}
}
