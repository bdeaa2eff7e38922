package herald

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReceiversHaveNoSecrets(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example/hook":                        "https://a.example/hook",
		"https://a.example/hook?token=secret#part":      "https://a.example/hook",
		"https://a.example?token=secret":                "https://a.example",
		"https://user:secret@a.example:8443/h@ok":       "https://a.example:8443/h@ok",
		"https://a.example/hook#secret?":                "https://a.example/hook",
		"mailto:Ann@Acme.example":                       "mailto:ann@acme.example",
		"mailto:who?@acme.example":                      "mailto:who?@acme.example",
		"":                                              "",
		"https://a.example/" + strings.Repeat("x", 400): "https://a.example/" + strings.Repeat("x", maxReceiver-18),
	} {
		if got := ReceiverOf(address); got != want {
			t.Errorf("%q is %q, want %q", address, got, want)
		}
	}
	for n := range 4 {
		if cut := ReceiverOf("https://a/" + strings.Repeat("x", n) + strings.Repeat("é", 400)); len(cut) > maxReceiver || !utf8.ValidString(cut) {
			t.Errorf("%d bytes, valid UTF-8 %v", len(cut), utf8.ValidString(cut))
		}
	}
}

func TestReceiversOfARule(t *testing.T) {
	r := Rule{Webhook: "https://a.example/hook?key=secret", Emails: []string{"Ann@acme.example, bob@acme.example", "ann@ACME.example"}}
	want := []string{"https://a.example/hook", "mailto:ann@acme.example", "mailto:bob@acme.example"}
	if got := r.Receivers(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	line := func(receiver string, delivered int64) Statistics {
		return Statistics{Receiver: receiver, Counts: Counts{Deliveries: DeliveryCounts{Delivered: delivered}}}
	}
	sum := r.Counts([]Statistics{line("https://a.example/hook", 1), line("https://a.example/other", 2), line("mailto:bob@acme.example", 4), line(OtherReceivers, 8)})
	if sum.Deliveries.Delivered != 5 {
		t.Errorf("the rule's receivers got %d deliveries, want 5", sum.Deliveries.Delivered)
	}
}

func TestLatencyBuckets(t *testing.T) {
	for took, want := range map[time.Duration]int{
		-1: 0, 0: 0, 10 * time.Millisecond: 0, 10*time.Millisecond + 1: 1, time.Second: 6, time.Minute: 11, time.Minute + 1: 12, 1 << 62: 12,
	} {
		if got := LatencyBucket(took); got != want {
			t.Errorf("%v is in bucket %d, want %d", took, got, want)
		}
	}
	var l Latency
	if _, known := l.Within(0.5); known {
		t.Error("no attempts have a median")
	}
	l[0], l[5], l[12] = 50, 45, 5
	for part, want := range map[float64]time.Duration{0.5: 10 * time.Millisecond, 0.51: 500 * time.Millisecond, 0.95: 500 * time.Millisecond, 0.96: 0} {
		if got, known := l.Within(part); got != want || !known {
			t.Errorf("%v of them end within %v, %v; want %v", part, got, known, want)
		}
	}
}

func TestHoursOfAFilter(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse("15:04:05", clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range [][4]string{
		{"09:30:00", "11:30:00", "09:00:00", "12:00:00"},
		{"09:00:00", "11:00:00", "09:00:00", "11:00:00"},
		{"09:00:00", "09:00:00", "09:00:00", "10:00:00"},
		{"09:59:59", "09:59:59", "09:00:00", "10:00:00"},
	} {
		from, to := StatisticsFilter{Since: at(c[0]), Until: at(c[1])}.Hours()
		if !from.Equal(at(c[2])) || !to.Equal(at(c[3])) {
			t.Errorf("from %s to %s are the hours from %v to %v", c[0], c[1], from, to)
		}
	}
}
