package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Statistics reads the counts of attempts and deliveries.
type Statistics interface {
	// Statistics adds counts up: by hour one for every hour, the earliest first; by receiver those with most first.
	Statistics(ctx context.Context, f herald.StatisticsFilter) (found []herald.Statistics, more bool, err error)
}

const (
	chartHours  = 24
	chartHeight = 96.0 // of the SVG's view box
	barStep     = 40.0 // from one bar to the next
	barWidth    = 32.0
	// rateDays is over how many days success rates are shown.
	rateDays = 7
	// maxReceivers is how many receivers the overview reads; it shows receiverRows.
	maxReceivers = 200
	receiverRows = 10
)

// chartLegend are the kinds of the chart's parts, in their order.
var chartLegend = []badge{{Kind: "good", Word: "Delivered"}, {Kind: "wait", Word: "To be retried"}, {Kind: "bad", Word: "Failed"}, {Kind: "off", Word: "Cut off"}}

// chart is attempts by outcome and hour.
type chart struct {
	Bars []chartBar
	Most int64
	Sum  herald.AttemptCounts
}

// chartBar is one hour. Its parts are stacked, from the bottom.
type chartBar struct {
	Ago   string
	Parts []chartPart
	Count herald.AttemptCounts
}

// chartPart is a rectangle of the SVG.
type chartPart struct {
	Kind                string
	X, Y, Width, Height float64
}

// newChart returns the chart of the hours of statistics, the earliest first.
func newChart(hours []herald.Statistics) chart {
	var c chart
	for _, h := range hours {
		c.Most = max(c.Most, h.Attempts.Total())
	}
	for n, h := range hours {
		a := h.Attempts
		bar := chartBar{Ago: "this hour", Count: a}
		if ago := len(hours) - 1 - n; ago > 0 {
			bar.Ago = fmt.Sprintf("%d h ago", ago)
		}
		top := chartHeight
		for _, part := range []struct {
			kind  string
			count int64
		}{{"good", a.Delivered}, {"wait", a.Retry}, {"bad", a.Rejected}, {"off", a.Unknown}} {
			if part.count > 0 {
				height := max(chartHeight*float64(part.count)/float64(c.Most), 1) // one among thousands is seen, too
				top = max(top-height, 0)
				bar.Parts = append(bar.Parts, chartPart{part.kind, float64(n) * barStep, top, barWidth, height})
			}
		}
		c.Bars = append(c.Bars, bar)
		c.Sum.Delivered, c.Sum.Retry = c.Sum.Delivered+a.Delivered, c.Sum.Retry+a.Retry
		c.Sum.Rejected, c.Sum.Unknown = c.Sum.Rejected+a.Rejected, c.Sum.Unknown+a.Unknown
	}
	return c
}

// Width is that of the view box.
func (c chart) Width() float64 { return float64(len(c.Bars)) * barStep }

// Said says the counts of an hour in words.
func (b chartBar) Said() string { return b.Ago + ": " + said(b.Count) }

// Said says the counts of all hours in words.
func (c chart) Said() string { return said(c.Sum) }

func said(a herald.AttemptCounts) string {
	var parts []string
	for _, part := range []struct {
		count int64
		word  string
	}{{a.Delivered, "delivered"}, {a.Retry, "to be retried"}, {a.Rejected, "failed"}, {a.Unknown, "cut off"}} {
		if part.count > 0 {
			parts = append(parts, number(int(part.count))+" "+part.word)
		}
	}
	if len(parts) == 0 {
		return "no attempts"
	}
	return strings.Join(parts, ", ")
}

// receiverRow is a receiver on the overview: all addresses that differ only in their query.
type receiverRow struct {
	herald.Statistics
	Href  string
	Issue *issueRow // the newest open issue of the receiver; of those in which deliveries failed, if there is one
	// Unused says that no rule sends to it any more.
	Unused bool
}

// Name is the receiver as people read it.
func (r receiverRow) Name() string {
	if r.Receiver == herald.OtherReceivers {
		return "All others"
	}
	return strings.TrimPrefix(r.Receiver, herald.MailScheme)
}

// Rate is how large a part of the deliveries that ended has arrived.
func (r receiverRow) Rate() string { return rateOf(r.Deliveries) }

func rateOf(d herald.DeliveryCounts) string {
	rate, known := d.SuccessRate()
	switch {
	case !known:
		return "–"
	case rate < 1 && rate > 0.9995:
		return "99.9 %"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*rate), ".0") + " %"
}

// State is the receiver's badge. Of several addresses some may fail while others answer.
func (r receiverRow) State() badge {
	switch {
	case r.Issue != nil && r.LastSuccess.After(r.Issue.LastAt):
		return badge{"wait", "warn", "Failing in part"}
	case r.Issue != nil && r.Issue.Failed > 0:
		return badge{"bad", "cross", "Failing"}
	case r.Issue != nil:
		return badge{"wait", "retry", "Retrying"}
	case r.Unused:
		return badge{"off", "stop", "Not used any more"}
	case r.LastSuccess.IsZero():
		return badge{"off", "question", "No success yet"}
	}
	return badge{"good", "check", "Answering"}
}

// receivers returns the receivers of the last days, the failing ones first. more says that there are others.
func (p *portal) receivers(ctx context.Context, v visit, open, ended []issueRow) (rows []receiverRow, more bool, err error) {
	found, more, err := p.ofReceivers(ctx, v.client.ID, maxReceivers)
	if err != nil {
		return nil, false, err
	}
	failing, unused := make(map[string]*issueRow), make(map[string]time.Time)
	for n := range open {
		name := herald.ReceiverOf(open[n].Receiver)
		if known := failing[name]; open[n].Receiver != "" && (known == nil || known.Failed == 0 && open[n].Failed > 0) {
			failing[name] = &open[n]
		}
	}
	for _, i := range ended {
		if name := herald.ReceiverOf(i.Receiver); i.Unused && unused[name].IsZero() {
			unused[name] = i.EndedAt
		}
	}
	for _, s := range found {
		row := receiverRow{Statistics: s, Issue: failing[s.Receiver]}
		if s.Receiver != herald.OtherReceivers {
			row.Unused = row.Issue == nil && s.LastSuccess.Before(unused[s.Receiver])
			address := s.Receiver
			if strings.Contains(address, "://") {
				address += herald.AnyQuery
			}
			row.Href = listOf(v, map[string][]string{"receiver": {address}}).location
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b receiverRow) int { return urgency(b) - urgency(a) })
	return rows, more, nil
}

func urgency(r receiverRow) int {
	switch {
	case r.Issue != nil && r.Issue.Failed > 0:
		return 2
	case r.Issue != nil:
		return 1
	}
	return 0
}

// day returns the client's attempts of the last hours.
func (p *portal) day(ctx context.Context, of uuid.UUID) (chart, error) {
	now := p.Now()
	// Until lies in the present hour, also if that begins now.
	hours, _, err := p.Statistics.Statistics(ctx, herald.StatisticsFilter{By: herald.ByHour, Client: of, Since: now.Add(-(chartHours - 1) * time.Hour), Until: now.Add(1), Limit: chartHours + 1})
	return newChart(hours[max(0, len(hours)-chartHours):]), err
}
