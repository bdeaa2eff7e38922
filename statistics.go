package herald

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of statistics.
const (
	// StatisticsKept is how long statistics are kept at most. They are deleted earlier if history is
	// kept for a shorter time.
	StatisticsKept = 35 * 24 * time.Hour
	// StatisticsReceivers is how many receivers of a client have statistics of their own in an hour: the
	// busiest. The others are counted together, with OtherReceivers as their receiver.
	StatisticsReceivers = 1000
	// maxReceiver bounds a receiver in the statistics, in bytes. Longer ones are cut, and those with
	// the same start are one.
	maxReceiver = 300
)

// OtherReceivers is the receiver of the counts of all receivers that are not among the busiest.
const OtherReceivers = ""

// LatencyBounds are the upper bounds of the buckets of Latency. The last bucket has no bound. The
// largest bound is twice the default time that a receiver has to answer.
var LatencyBounds = [...]time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Latency counts attempts by how long they took. Element i counts those of at most LatencyBounds[i],
// and more than the bound before; the last element counts the rest.
type Latency [len(LatencyBounds) + 1]int64

// LatencyBucket returns the element of Latency that counts an attempt of this time.
func LatencyBucket(took time.Duration) int {
	for i, bound := range LatencyBounds {
		if took <= bound {
			return i
		}
	}
	return len(LatencyBounds)
}

// Within returns the smallest of LatencyBounds within which a part of the attempts ended: 0.5 asks for the
// median. It returns 0 if that is no more than the longest; known is false if no attempt is counted.
func (l Latency) Within(part float64) (bound time.Duration, known bool) {
	total := int64(0)
	for _, n := range l {
		total += n
	}
	sum := int64(0)
	for i, n := range l[:len(LatencyBounds)] {
		if sum += n; total > 0 && float64(sum) >= part*float64(total) {
			return LatencyBounds[i], true
		}
	}
	return 0, total > 0
}

// Counts are numbers of recorded attempts and of deliveries that have ended. An attempt counts in the hour
// in which it began, a delivery in the hour in which it ended.
type Counts struct {
	Attempts   AttemptCounts  `json:"attempts"`
	Deliveries DeliveryCounts `json:"deliveries"`
	// Latency has every attempt but the unknown ones.
	Latency Latency `json:"latency" doc:"Attempts by how long they took. Each number is for a bucket; latencyBoundsMs of the answer has the buckets' upper bounds. Unknown attempts are not in it."`
	// LastSuccess and LastFailure are when the last attempts of each kind began. A failure
	// is an attempt that will be retried or was rejected.
	LastSuccess time.Time `json:"lastSuccessAt,omitzero" doc:"When the last attempt that delivered began; absent without one."`
	LastFailure time.Time `json:"lastFailureAt,omitzero" doc:"When the last attempt that did not deliver began; absent without one."`
}

// AttemptCounts are numbers of attempts by their outcome.
type AttemptCounts struct {
	Delivered int64 `json:"delivered"`
	Retry     int64 `json:"retry" doc:"Attempts after which another one was scheduled."`
	Rejected  int64 `json:"rejected" doc:"Attempts after which the delivery failed."`
	Unknown   int64 `json:"unknown" doc:"Attempts that were cut off; they may have arrived."`
}

// DeliveryCounts are numbers of deliveries by their final state.
type DeliveryCounts struct {
	Delivered int64 `json:"delivered"`
	Failed    int64 `json:"failed"`
	Cancelled int64 `json:"cancelled"`
}

// SuccessRate returns how large a part of the deliveries that were made to the end has arrived:
// delivered by delivered and failed. Cancelled and pending deliveries do not count. known is false if
// none has ended so.
func (d DeliveryCounts) SuccessRate() (rate float64, known bool) {
	if d.Delivered+d.Failed == 0 {
		return 0, false
	}
	return float64(d.Delivered) / float64(d.Delivered+d.Failed), true
}

// Total returns the number of attempts.
func (a AttemptCounts) Total() int64 { return a.Delivered + a.Retry + a.Rejected + a.Unknown }

// Total returns the number of deliveries.
func (d DeliveryCounts) Total() int64 { return d.Delivered + d.Failed + d.Cancelled }

// Add adds other counts.
func (c *Counts) Add(o Counts) {
	c.Attempts.Delivered += o.Attempts.Delivered
	c.Attempts.Retry += o.Attempts.Retry
	c.Attempts.Rejected += o.Attempts.Rejected
	c.Attempts.Unknown += o.Attempts.Unknown
	c.Deliveries.Delivered += o.Deliveries.Delivered
	c.Deliveries.Failed += o.Deliveries.Failed
	c.Deliveries.Cancelled += o.Deliveries.Cancelled
	for i, n := range o.Latency {
		c.Latency[i] += n
	}
	c.LastSuccess, c.LastFailure = later(c.LastSuccess, o.LastSuccess), later(c.LastFailure, o.LastFailure)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Statistics are the counts of one hour, of one receiver or of one reason.
type Statistics struct {
	// Hour is when the hour begins, in UTC. Zero unless they are by hour.
	Hour time.Time `json:"hour,omitzero" doc:"When the hour begins; only by hour."`
	// Receiver is one as ReceiverOf returns it, or OtherReceivers. Empty unless they are by receiver.
	Receiver string `json:"receiver,omitempty" doc:"The webhook without its query, or the mailbox; only by receiver. Absent in the line that counts all receivers that are not among the busiest."`
	// Reason is the reason of the attempts and of the deliveries. Empty unless they are by outcome.
	Reason Reason `json:"reason,omitempty" doc:"Why the attempts and the deliveries did not succeed; only by outcome. Absent in the line of those that did."`
	Counts
}

// StatisticsBy is what each of a list of Statistics is about.
type StatisticsBy string

// What Statistics can be about.
const (
	ByHour     StatisticsBy = "hour"
	ByReceiver StatisticsBy = "receiver"
	ByOutcome  StatisticsBy = "outcome"
)

// StatisticsFilter selects statistics.
type StatisticsFilter struct {
	By       StatisticsBy
	Client   uuid.UUID // uuid.Nil selects all clients
	Receiver string    // in any spelling, with or without the query; empty selects all
	// Since and Until bound the hours. The hours in which they lie are included.
	Since, Until time.Time
	Limit        int // of lines; by hour there is one for every hour
}

// Hours returns when the first hour of the filter begins, and when its last hour ends, in UTC. There is
// at least one hour.
func (f StatisticsFilter) Hours() (from, to time.Time) {
	from, to = f.Since.UTC().Truncate(time.Hour), f.Until.UTC().Add(time.Hour-1).Truncate(time.Hour)
	if !from.Before(to) {
		to = from.Add(time.Hour)
	}
	return from, to
}

// ReceiverOf returns the receiver of a delivery's address, as statistics count it: a webhook's address
// without user info, query and fragment, which may hold secrets, or "mailto:" and the MailboxKey of a
// mailbox.
func ReceiverOf(address string) string {
	if box, isMail := strings.CutPrefix(address, MailScheme); isMail {
		return cutReceiver(MailScheme + MailboxKey(box))
	}
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		address = address[:i]
	}
	if scheme := strings.Index(address, "://"); scheme >= 0 {
		host, path := address[scheme+3:], ""
		if i := strings.IndexByte(host, '/'); i >= 0 {
			host, path = host[:i], host[i:]
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			address = address[:scheme+3] + host[at+1:] + path
		}
	}
	return cutReceiver(address)
}

// cutReceiver cuts a receiver to maxReceiver bytes, and never in the middle of a character.
func cutReceiver(r string) string {
	if len(r) <= maxReceiver {
		return r
	}
	end := maxReceiver
	for end > 0 && !utf8.RuneStart(r[end]) {
		end--
	}
	return r[:end]
}

// Receivers returns the receivers of a rule, as statistics count them. Statistics are kept for each
// receiver of a client, so a rule's are the sum of its receivers'. They include what other rules of
// the client send to the same receivers.
func (r Rule) Receivers() []string {
	var all []string
	if r.Webhook != "" {
		all = append(all, ReceiverOf(r.Webhook))
	}
	for _, box := range Mailboxes(r.Emails) {
		all = append(all, ReceiverOf(MailScheme+box))
	}
	return all
}

// Counts adds up the counts of the rule's receivers, from statistics by receiver.
func (r Rule) Counts(byReceiver []Statistics) (sum Counts) {
	receivers := r.Receivers()
	for _, line := range byReceiver {
		if slices.Contains(receivers, line.Receiver) {
			sum.Add(line.Counts)
		}
	}
	return sum
}
