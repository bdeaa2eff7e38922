package cli_test

import (
	"testing"
	"testing/synctest"
	"time"

	"herald/internal/cli"
)

func TestTimesAreTakenInEveryForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for text, want := range map[string]time.Time{
			"":                              {},
			"2h":                            now.Add(-2 * time.Hour),
			"1h30m":                         now.Add(-90 * time.Minute),
			"3d":                            now.Add(-72 * time.Hour),
			"1w":                            now.Add(-7 * 24 * time.Hour),
			"0s":                            now,
			"2026-11-23T09:00:00Z":          time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
			"2026-11-23T09:00:00.004+01:00": time.Date(2026, 11, 23, 8, 0, 0, 4e6, time.UTC),
			"2026-11-23 09:00:00.004":       time.Date(2026, 11, 23, 9, 0, 0, 4e6, time.Local),
			"2026-11-23 09:00":              time.Date(2026, 11, 23, 9, 0, 0, 0, time.Local),
			"2026-11-23":                    time.Date(2026, 11, 23, 0, 0, 0, 0, time.Local),
		} {
			var m cli.Moment
			if err := m.UnmarshalText([]byte(text)); err != nil || !m.Equal(want) {
				t.Errorf("%q is %v, %v; want %v", text, m, err, want)
			}
		}
		for _, text := range []string{"yesterday", "-2h", "2", "d", "-1d", "1.5d", "2026-13-01", "99999999d"} {
			var m cli.Moment
			if err := m.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%q is %v, want an error", text, m)
			}
		}
	})
}

// TestShownTimesCanBePastedBack, whatever the zone.
func TestShownTimesCanBePastedBack(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 5*3600+1800), time.FixedZone("", -9*3600)} {
		time.Local = zone
		at := time.Date(2026, 11, 23, 3, 4, 5, 678e6, time.UTC)
		shown := cli.Time(at)
		time.Local = time.FixedZone("", 3600) // pasted elsewhere
		var m cli.Moment
		if err := m.UnmarshalText([]byte(shown)); err != nil || !m.Equal(at) {
			t.Errorf("%s: %q is read as %v, %v", zone, shown, m, err)
		}
	}
}
