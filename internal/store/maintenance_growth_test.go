package store

import (
	"testing"
	"time"

	"herald"
	"herald/internal/test/postgres"
)

// growth returns how the database has grown, by its status.
func (f *fixture) growth() (d *herald.DatabaseStatus) {
	f.t.Helper()
	status, err := f.Status(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return status.Database
}

// keepSize keeps a size as of some time ago.
func (f *fixture) keepSize(ago time.Duration, bytes int64) {
	f.t.Helper()
	at := f.clock.Now().Add(-ago)
	f.exec(`INSERT INTO database_sizes (hour, at, bytes) VALUES ($1, $2, $3)`, micros(at.Truncate(sizeStep)), micros(at), bytes)
}

func TestGrowthIsKnownAfterADayAndAWeek(t *testing.T) { onBoth(t, testGrowthIsKnownAfterADayAndAWeek) }

func testGrowthIsKnownAfterADayAndAWeek(t *testing.T, f *fixture) {
	if d := f.growth(); d.Day != nil || d.Week != nil {
		t.Errorf("before any size is kept: %+v", d)
	}
	f.keepSize(23*time.Hour, 1)
	f.keepSize(31*time.Hour, 2)
	if d := f.growth(); d.Day != nil || d.Week != nil {
		t.Errorf("with sizes that are too new and too old: %+v", d)
	}
	f.keepSize(24*time.Hour+59*time.Minute, 1000)
	f.keepSize(26*time.Hour, 3)
	f.keepSize(8*24*time.Hour, 1<<50) // the service did not run since
	d := f.growth()
	if d.Day == nil || d.Day.Bytes != d.Bytes-1000 || f.clock.Now().Sub(d.Day.Since) < 24*time.Hour || f.clock.Now().Sub(d.Day.Since) > 26*time.Hour {
		t.Errorf("the day: %+v", d.Day)
	}
	if d.Week == nil || d.Week.Bytes != d.Bytes-1<<50 || d.Week.Bytes > 0 {
		t.Errorf("the week: %+v", d.Week)
	}
}

// TestSizesAreKeptOnceAnHour: by one of all nodes, and for a fortnight.
func TestSizesAreKeptOnceAnHour(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		f := newFixture(t, Options{Dir: t.TempDir()})
		testSizesAreKeptOnceAnHour(t, f, f.Store)
	})
	t.Run("postgres", func(t *testing.T) {
		o := Options{Database: postgres.Database(t)}
		f := newFixture(t, o)
		testSizesAreKeptOnceAnHour(t, f, openAnother(t, o))
	})
}

func testSizesAreKeptOnceAnHour(t *testing.T, f *fixture, other *Store) {
	for hour := range 20 * 24 {
		f.keepSize(time.Duration(hour+2)*time.Hour, 1)
	}
	began := f.clock.Now()
	for _, node := range []*Store{f.Store, other, f.Store, other} {
		if n, err := node.SampleSize(t.Context()); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	since := micros(began.Truncate(sizeStep).Add(-sizeStep)) // the clocks of two nodes may show two hours
	kept, err := first(t.Context(), f.read, scanInt, `SELECT count(*) FROM database_sizes WHERE hour > $1 AND bytes > 1`, since)
	hours := int64(f.clock.Now().Truncate(sizeStep).Sub(began.Truncate(sizeStep))/sizeStep) + 1
	if err != nil || kept < 1 || kept > hours {
		t.Errorf("%d sizes of %d hours (%v)", kept, hours, err)
	}
	all, err := first(t.Context(), f.read, scanInt, `SELECT count(*) FROM database_sizes`)
	if most := int64(sizesKept/sizeStep) + 2; err != nil || all > most || all < most-4 {
		t.Errorf("%d sizes are kept, want at most %d (%v)", all, most, err)
	}
	if size := f.growth(); size.Bytes < 1000 {
		t.Errorf("the size is %d", size.Bytes)
	}
}
