package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Moment is a time on the command line: as tables show it, a day, or how long ago it was.
type Moment struct{ time.Time }

// momentLayouts are the forms of a time. Without a zone it is the local one.
var momentLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// UnmarshalText takes 2026-11-23T09:00:00Z, 2026-11-23 09:00, 2026-11-23, or a duration such as 2h, 90m
// or 3d, which means so long ago. The empty text is the zero time.
func (m *Moment) UnmarshalText(text []byte) error {
	value := strings.TrimSpace(string(text))
	if value == "" {
		*m = Moment{}
		return nil
	}
	for _, layout := range momentLayouts {
		if at, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			*m = Moment{at}
			return nil
		}
	}
	ago, err := parseAgo(value)
	if err != nil {
		return fmt.Errorf("%q is not a time such as 2026-11-23T09:00:00Z, and not a duration such as 2h or 3d", value)
	}
	*m = Moment{time.Now().Add(-ago)}
	return nil
}

// parseAgo parses a duration of zero or more. Besides Go's units it takes days and weeks, alone.
func parseAgo(text string) (time.Duration, error) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, found := strings.CutSuffix(text, unit); found {
			n, err := strconv.ParseUint(number, 10, 16)
			return time.Duration(n) * length, err
		}
	}
	ago, err := time.ParseDuration(text)
	if err == nil && ago < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	return ago, err
}
