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
	told := func(want time.Time) {
		t.Helper()
		if got := fromMicros(c.now()); !got.Equal(want) {
			t.Errorf("it tells %v, want %v", got, want)
		}
	}
	told(wall)
	pass(time.Minute)
	told(wall)
	right := wall
	wall = wall.Add(-time.Hour) // set back
	told(right)
	pass(20 * time.Second)
	told(right.Add(20 * time.Second))
	wall = wall.Add(2 * time.Hour) // set forward
	told(wall)
	pass(time.Second)
	told(wall)
}
