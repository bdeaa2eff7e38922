package native

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

// Statistics returns a line that tells what it was asked for.
func (f *fake) Statistics(_ context.Context, filter herald.StatisticsFilter) ([]herald.Statistics, bool, error) {
	f.counted = filter
	line := herald.Statistics{Receiver: "https://a.example/hook"}
	line.Attempts.Delivered, line.Deliveries = 3, herald.DeliveryCounts{Delivered: 3, Failed: 1, Cancelled: 4}
	return []herald.Statistics{line, {}}, filter.Limit == 2, nil
}

func TestStatisticsAreOfTheCallersClient(t *testing.T) {
	r := newFixture(t)
	for _, c := range []struct {
		key, query string
		want       uuid.UUID
	}{
		{acmeKey, "", acme}, {acmeKey, "?client=" + acme.String(), acme}, {operatorKey, "", uuid.Nil}, {operatorKey, "?client=" + rival.String(), rival},
	} {
		r.must(http.StatusOK, c.key, "GET", "/statistics"+c.query, "")
		if r.counted.Client != c.want {
			t.Errorf("%s %s: client %s, want %s", c.key, c.query, r.counted.Client, c.want)
		}
	}
	r.counted = herald.StatisticsFilter{}
	r.refused(http.StatusNotFound, "", "No client was found with ID "+rival.String(), acmeKey, "GET", "/statistics?client="+rival.String(), "")
	if r.counted != (herald.StatisticsFilter{}) {
		t.Errorf("another client's statistics were read: %+v", r.counted)
	}
}

func TestStatisticsSayWhatTheyCount(t *testing.T) {
	r := newFixture(t)
	answer := r.must(http.StatusOK, acmeKey, "GET", "/statistics", "")
	want := herald.StatisticsFilter{By: herald.ByHour, Client: acme, Since: r.now.Add(-24 * time.Hour), Until: r.now, Limit: defaultLines}
	if diff := cmp.Diff(want, r.counted); diff != "" {
		t.Errorf("the default (-want +got):\n%s", diff)
	}
	if answer["since"] != "2026-05-02T09:00:00Z" || answer["until"] != "2026-05-03T09:00:00Z" || answer["by"] != "hour" ||
		len(answer["latencyBoundsMs"].([]any)) != len(herald.LatencyBounds) {
		t.Errorf("the answer %v", answer)
	}
	first, second := answer["results"].([]any)[0].(object), answer["results"].([]any)[1].(object)
	if first["successRate"] != 0.75 || second["successRate"] != nil {
		t.Errorf("success rates %v and %v; want 3 of 4, and none", first["successRate"], second["successRate"])
	}
	answer = r.must(http.StatusOK, acmeKey, "GET", "/statistics?by=receiver&receiver=https://a.example/hook%3Fa=1&since=2026-04-01T08:30:00Z&until=2026-04-02T08:30:00Z&limit=2", "")
	want = herald.StatisticsFilter{By: herald.ByReceiver, Client: acme, Receiver: "https://a.example/hook?a=1", Limit: 2,
		Since: time.Date(2026, 4, 1, 8, 30, 0, 0, time.UTC), Until: time.Date(2026, 4, 2, 8, 30, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, r.counted); diff != "" {
		t.Errorf("the filter (-want +got):\n%s", diff)
	}
	if answer["since"] != "2026-04-01T08:00:00Z" || answer["until"] != "2026-04-02T09:00:00Z" || answer["more"] != true {
		t.Errorf("the answer %v", answer)
	}
}

func TestStatisticsParametersAreChecked(t *testing.T) {
	r := newFixture(t)
	for query, wrong := range map[string]struct{ member, text string }{
		"by=day":                      {"by", "not one of hour, receiver and outcome"},
		"limit=0":                     {"limit", "whole number from 1 to 1000"},
		"limit=1001":                  {"limit", "whole number from 1 to 1000"},
		"client=x":                    {"client", "not a GUID"},
		"client=" + uuid.Nil.String(): {"client", "zeros"},
		"since=yesterday":             {"since", "yesterday"},
		"receiver=acme":               {"receiver", "neither the address of a webhook"},
		"since=2026-05-03T10:00:00Z":  {"since", "is after until"},
		"since=2026-03-01T09:00:00Z":  {"since", "more than 35 days"},
		"until=2026-05-01T09:00:00Z&since=2026-05-02T09:00:00Z": {"since", "is after until"},
		"after=" + uuid.NewString():                             {"after", "no such parameter"},
	} {
		r.refused(http.StatusBadRequest, wrong.member, wrong.text, acmeKey, "GET", "/statistics?"+query, "")
	}
	r.must(http.StatusOK, acmeKey, "GET", "/statistics?since=2026-03-29T09:00:00Z", "") // 35 days
}
