package policy_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald/internal/policy"
)

func TestParseRetryAfter(t *testing.T) {
	at := time.Date(2015, 10, 21, 7, 26, 0, 0, time.UTC)
	for _, test := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"120", 2 * time.Minute, true},
		{" 120\t", 2 * time.Minute, true},
		{"0", 0, true},
		{"0000000000000000000000000120", 2 * time.Minute, true},
		{"9223372036", 9223372036 * time.Second, true},
		{"9223372037", math.MaxInt64, true},
		{"9223372036854775808", math.MaxInt64, true},
		{strings.Repeat("9", 10000), math.MaxInt64, true},
		{"Wed, 21 Oct 2015 07:28:00 GMT", 2 * time.Minute, true},
		{"Wednesday, 21-Oct-15 07:28:00 GMT", 2 * time.Minute, true},
		{"Wed Oct 21 07:28:00 2015", 2 * time.Minute, true},
		{"Wed, 21 Oct 2015 07:25:59 GMT", 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", math.MaxInt64, true},
		{"", 0, false},
		{" ", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1.5", 0, false},
		{"1e3", 0, false},
		{"1, 2", 0, false},
		{"١٢", 0, false},
		{"soon", 0, false},
		{"2015-10-21T07:28:00Z", 0, false},
		{"Wed, 31 Feb 2015 07:28:00 GMT", 0, false},
	} {
		if got, ok := policy.ParseRetryAfter(test.value, at); got != test.want || ok != test.ok {
			t.Errorf("ParseRetryAfter(%.60q) = %v, %v; want %v, %v", test.value, got, ok, test.want, test.ok)
		}
	}
}

func FuzzRetryAfterIsNeverNegative(f *testing.F) {
	for _, value := range []string{"120", "-1", "9223372037", "Wed, 21 Oct 2015 07:28:00 GMT", "Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015", " "} {
		f.Add(value, int64(1445412360))
	}
	f.Fuzz(func(t *testing.T, value string, seconds int64) {
		got, ok := policy.ParseRetryAfter(value, time.Unix(seconds, 0))
		if got < 0 || !ok && got != 0 {
			t.Errorf("ParseRetryAfter(%q) = %v, %v", value, got, ok)
		}
	})
}

func TestParseSchedule(t *testing.T) {
	for _, test := range []struct {
		text string
		want []time.Duration
	}{
		{"20s,40s,60s", policy.RulesSchedule()},
		{" 20s, 40s ,1m ", policy.RulesSchedule()},
		{"24h", []time.Duration{24 * time.Hour}},
		{"1m30s", []time.Duration{90 * time.Second}},
		{strings.Repeat("1s,", 19) + "1s", slices.Repeat([]time.Duration{time.Second}, 20)},
		{"", nil},
		{"none", nil},
	} {
		got, err := policy.ParseSchedule(test.text)
		if err != nil {
			t.Errorf("ParseSchedule(%q): %v", test.text, err)
		} else if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ParseSchedule(%q) (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestWrongScheduleIsExplained(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"20", `retry schedule "20": interval 1 is "20"; write a number and a unit, such as 20s, 5m or 2h, or none for no retries`},
		{"20s,,60s", `retry schedule "20s,,60s": interval 2 is ""; write a number and a unit, such as 20s, 5m or 2h, or none for no retries`},
		{"20s,none", `retry schedule "20s,none": interval 2 is "none"; write a number and a unit, such as 20s, 5m or 2h, or none for no retries`},
		{"20s,0s", `retry schedule "20s,0s": interval 2 is "0s"; it must be longer than 0s and at most 24h0m0s`},
		{"-5s", `retry schedule "-5s": interval 1 is "-5s"; it must be longer than 0s and at most 24h0m0s`},
		{"24h1s", `retry schedule "24h1s": interval 1 is "24h1s"; it must be longer than 0s and at most 24h0m0s`},
		{strings.Repeat("1s,", 20) + "1s", "retry schedule with 21 intervals: at most 20 are taken"},
	} {
		if _, err := policy.ParseSchedule(test.text); err == nil || err.Error() != test.want {
			t.Errorf("ParseSchedule(%q): error %v, want %s", test.text, err, test.want)
		}
	}
}

func FuzzScheduleIsWithinItsLimits(f *testing.F) {
	for _, text := range []string{"20s,40s,60s", "none", "", "24h1ns", "1h,-1h", "1e9s", ",", "9223372036854775807ns"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		schedule, err := policy.ParseSchedule(text)
		if len(schedule) > policy.MaxRetries || err != nil && schedule != nil {
			t.Errorf("ParseSchedule(%q) = %v, %v", text, schedule, err)
		}
		for _, interval := range schedule {
			if interval <= 0 || interval > policy.MaxInterval {
				t.Errorf("ParseSchedule(%q) has the interval %v", text, interval)
			}
		}
	})
}
