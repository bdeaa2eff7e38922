package store

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/work"
)

// measured returns the value of a metric without labels; of a histogram, how often it was observed.
func measured(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestCommitsAreMeasured(t *testing.T) {
	r := prometheus.NewRegistry()
	f := newFixture(t, Options{Dir: t.TempDir(), Metrics: r})
	f.accept(f.prepare(f.client, false))
	if n := measured(t, r, "herald_commit_duration_seconds"); n != 1 {
		t.Errorf("%v commits are measured after one", n)
	}
	// A request that is refused is no failure of the database.
	stale := f.prepareOn(f.client, 1<<40, false)
	if _, err := f.Accept([]work.PreparedEvent{stale}); err == nil {
		t.Fatal("a stale event was accepted")
	}
	if n := measured(t, r, "herald_commit_failures_total"); n != 0 {
		t.Errorf("%v failures before the first", n)
	}
	if _, err := f.write.ExecContext(t.Context(), `PRAGMA query_only = 1`); err != nil {
		t.Fatal(err)
	}
	_, err := f.Accept([]work.PreparedEvent{f.prepare(f.client, false)})
	wantCode(t, err, herald.CodeUnavailable)
	if n := measured(t, r, "herald_commit_failures_total"); n != 1 {
		t.Errorf("%v failures after one", n)
	}
	if n := measured(t, r, "herald_commit_waiting_bytes"); n != 0 {
		t.Errorf("%v bytes wait, and nothing does", n)
	}
}
