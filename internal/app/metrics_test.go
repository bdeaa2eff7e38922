package app_test

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/internal/app"
)

// series returns the value of each series of the service, by its name and labels.
func (f *fixture) series() map[string]float64 {
	f.t.Helper()
	status, _, text := f.call(http.MethodGet, "/metrics", "", "")
	if status != http.StatusOK {
		f.t.Fatalf("/metrics answers %d: %s", status, text)
	}
	found := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndex(line, " ")
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			f.t.Fatal(err)
		}
		found[line[:space]] = value
	}
	return found
}

// documentedMetrics returns the names in the table of the docs.
func documentedMetrics(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/metrics-and-logs.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(herald_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		names = append(names, row[1])
	}
	return names
}

// TestEverySeriesExistsFromTheStart: rate() and increase() miss the first event of a series that begins
// with it. So a fresh service has every metric of the docs, and traffic adds no series but those of
// further routes.
func TestEverySeriesExistsFromTheStart(t *testing.T) {
	onBothDatabases(t, testEverySeriesExistsFromTheStart)
}

func testEverySeriesExistsFromTheStart(t *testing.T, setUp func(*app.Config)) {
	f := newFixture(t, setUp)
	fresh := f.series()
	exposed := make(map[string]bool)
	for name := range fresh {
		name, _, _ = strings.Cut(name, "{")
		exposed[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")] = true
	}
	documented := documentedMetrics(t)
	for i, name := range documented {
		if slices.Contains(documented[:i], name) {
			t.Errorf("the docs have %s twice", name)
		}
		if !exposed[name] {
			t.Errorf("the docs have %s, and a fresh service does not", name)
		}
	}
	for name := range exposed {
		if strings.HasPrefix(name, "herald_") && !slices.Contains(documented, name) {
			t.Errorf("a fresh service has %s, and the docs do not", name)
		}
	}

	good, broken := newReceiver(t, nil), newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader([]int{503, 302, 410}[(n-1)%3])
	})
	for _, address := range []string{good.URL, broken.URL, nobodyListens} {
		f.rule(address, uuid.Nil)
	}
	for range 3 {
		receipt := f.publish(event())
		f.ended(receipt)
	}
	f.call(http.MethodPost, "/events", f.account.APIKey, "{")
	eventually(t, "all have ended", func() bool {
		return ofState(f.series(), "herald_deliveries_ended_total") == 9
	})
	for name := range f.series() {
		_, existed := fresh[name]
		route := strings.HasPrefix(name, "herald_http_request_duration_seconds")
		if strings.HasPrefix(name, "herald_") && !existed && !(route && !strings.Contains(name, `route="POST /events"`)) {
			t.Errorf("traffic added the series %s", name)
		}
	}
}

// ofState returns the sum of the series of a metric.
func ofState(series map[string]float64, metric string) (sum float64) {
	for name, value := range series {
		if strings.HasPrefix(name, metric+"{") {
			sum += value
		}
	}
	return sum
}

// TestBacklogIsKnownAfterARestart: what a service left pending is in the metrics of the next one, before it
// has sent anything.
func TestBacklogIsKnownAfterARestart(t *testing.T) {
	silent := newReceiver(t, statuses(503, 503, 503))
	f := newFixture(t, func(c *app.Config) { c.RetrySchedule = []time.Duration{time.Hour} })
	f.rule(silent.URL, uuid.Nil)
	for range 3 {
		f.publish(event())
	}
	eventually(t, "three wait for a retry", func() bool {
		return f.series()[`herald_pending_deliveries{place="database",state="retry"}`] == 3
	})
	f.stop()
	f.start()
	series := f.series()
	if series[`herald_pending_deliveries{place="database",state="retry"}`] != 3 || ofState(series, "herald_pending_deliveries") != 3 {
		t.Errorf("the next service knows of %v pending deliveries, want 3", ofState(series, "herald_pending_deliveries"))
	}
}

func TestMetricsSayWhatRunsAndWhetherItIsReady(t *testing.T) {
	f := newFixture(t)
	series := f.series()
	found := slices.ContainsFunc(slices.Collect(maps.Keys(series)), func(name string) bool {
		return strings.HasPrefix(name, "herald_build_info{") && strings.Contains(name, `version="test"`)
	})
	if !found {
		t.Error("no metric says which version runs")
	}
	if series["herald_ready"] != 1 || series["herald_nodes"] != 1 || series["herald_certificate_expiry_timestamp_seconds"] != 0 {
		t.Errorf("ready %v, nodes %v, certificate %v; want 1, 1 and none", series["herald_ready"], series["herald_nodes"], series["herald_certificate_expiry_timestamp_seconds"])
	}
}

// TestLastBackupIsAMetric: also after a restart.
func TestLastBackupIsAMetric(t *testing.T) {
	f := newFixture(t)
	const last = "herald_last_backup_timestamp_seconds"
	if at := f.series()[last]; at != 0 {
		t.Errorf("a backup was taken at %v, before the first", at)
	}
	began := float64(time.Now().Unix())
	archive, err := f.operator.Backup(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, archive); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	know := func() bool { at := f.series()[last]; return at >= began && at <= began+60 }
	eventually(t, "the backup is known", know)
	f.stop()
	f.start()
	if !know() {
		t.Errorf("after a restart the last backup is at %v", f.series()[last])
	}
}

// TestNodesTogetherShowEachPendingDeliveryOnce: the sum of what nodes hold in memory and the maximum of
// what they count in the database is what is pending.
func TestNodesTogetherShowEachPendingDeliveryOnce(t *testing.T) {
	one := newFixture(t, onPostgres(t), func(c *app.Config) { c.RetrySchedule, c.RequestTimeout = []time.Duration{time.Hour}, time.Minute })
	two := one.secondNode()
	release := make(chan struct{})
	hangs := newReceiver(t, func(_ int, w http.ResponseWriter, r *http.Request) { <-release })
	broken := newReceiver(t, func(_ int, w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	one.rule(hangs.URL, uuid.Nil)
	one.rule(broken.URL, uuid.Nil)
	for range 10 {
		one.publish(event())
		two.publish(event())
	}
	eventually(t, "20 are in flight and 20 wait for a retry", func() bool {
		var memory, database float64
		for _, node := range []*fixture{one, two} {
			series := node.series()
			for name, value := range series {
				if strings.HasPrefix(name, `herald_pending_deliveries{place="memory"`) {
					memory += value
				}
			}
			database = max(database, series[`herald_pending_deliveries{place="database",state="retry"}`])
		}
		return memory == 20 && database == 20
	})
	eventually(t, "each node knows of two", func() bool { return one.series()["herald_nodes"] == 2 && two.series()["herald_nodes"] == 2 })
	close(release)
	two.stop()
	eventually(t, "the other knows that it is alone", func() bool { return one.series()["herald_nodes"] == 1 })
}

// TestBucketsReachBeyondTheTimeouts: what a timeout ends must not be among what took no end.
func TestBucketsReachBeyondTheTimeouts(t *testing.T) {
	f := newFixture(t, func(c *app.Config) {
		c.RequestTimeout, c.MailTimeouts.End, c.StopBudget = time.Hour, 2*time.Hour, time.Second
	})
	largest := make(map[string]float64)
	bucket := regexp.MustCompile(`^(herald_\w+)_bucket\{.*le="([0-9.e+]+)"`)
	for name := range f.series() {
		if found := bucket.FindStringSubmatch(name); found != nil {
			limit, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			largest[found[1]] = max(largest[found[1]], limit)
		}
	}
	for name, limit := range map[string]time.Duration{
		"herald_attempt_duration_seconds":      2 * time.Hour,
		"herald_delivery_lag_seconds":          7*24*time.Hour + 2*time.Hour, // when a delivery expires, and its last attempt
		"herald_http_request_duration_seconds": 3 * time.Minute,
		"herald_commit_duration_seconds":       30 * time.Second,
	} {
		if largest[name] <= limit.Seconds() {
			t.Errorf("the buckets of %s end at %v s, want more than %v", name, largest[name], limit)
		}
		delete(largest, name)
	}
	if len(largest) > 0 {
		t.Errorf("there are further histograms: %v; what bounds them?", largest)
	}
}
