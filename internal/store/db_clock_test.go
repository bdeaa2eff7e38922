package store

import (
	"testing"
	"time"
)

// TestClockIsNotSetBack is fault 26 on the embedded database.
func TestClockIsNotSetBack(t *testing.T) {
	wall, elapsed := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC), time.Duration(0)
	c := &steadyClock{read: func() (time.Time, time.Duration) { return wall, elapsed }}
	pass := func(d time.Duration) {
		wall, elapsed = wall.Add(d), elapsed+d
	}
	check := func(want time.Time) {
		t.Helper()
		if got := fromMicros(c.now()); !got.Equal(want) {
			t.Errorf("the clock returns %v, want %v", got, want)
		}
	}
	check(wall)
	pass(time.Minute)
	check(wall)
	right := wall
	wall = wall.Add(-time.Hour) // set back
	check(right)
	pass(20 * time.Second)
	check(right.Add(20 * time.Second))
	wall = wall.Add(2 * time.Hour) // set forward
	check(wall)
	pass(time.Second)
	check(wall)
}
