package policy

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ParseRetryAfter reads a Retry-After header: seconds in digits, or an HTTP date in one of its
// three forms (spec section 9.3). It returns how long after now that is: 0 for a past date, and the
// longest Duration for a longer time. It returns false for any other value, such as negative
// seconds.
func ParseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.Trim(value, " \t")
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64, true // too many digits
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

// Limits of a schedule that an operator sets.
const (
	MaxRetries  = 20
	MaxInterval = day
)

// ParseSchedule reads a schedule such as "20s,40s,60s": the interval before each retry. "" and
// "none" mean no retries. An error names the wrong interval and the correct form.
func ParseSchedule(text string) ([]time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "none" {
		return nil, nil
	}
	items := strings.Split(text, ",")
	if len(items) > MaxRetries {
		return nil, fmt.Errorf("retry schedule with %d intervals: at most %d are taken", len(items), MaxRetries)
	}
	schedule := make([]time.Duration, len(items))
	for i, item := range items {
		item = strings.TrimSpace(item)
		interval, err := time.ParseDuration(item)
		if err != nil {
			return nil, fmt.Errorf("retry schedule %.200q: interval %d is %.50q; write a number and a unit, such as 20s, 5m or 2h, or none for no retries",
				text, i+1, item)
		}
		if interval <= 0 || interval > MaxInterval {
			return nil, fmt.Errorf("retry schedule %.200q: interval %d is %.50q; it must be longer than 0s and at most %v",
				text, i+1, item, MaxInterval)
		}
		schedule[i] = interval
	}
	return schedule, nil
}
