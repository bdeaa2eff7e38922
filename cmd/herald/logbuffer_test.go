package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogLinesAreWrittenTogetherAndInTime: none waits longer than logWait, a warning takes those before
// it with it, and a full buffer is written.
func TestLogLinesAreWrittenTogetherAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := newBufferedLog(&out)
		log := newLogger(b, "text", "info").With("a", 1).WithGroup("g")
		written := func() int {
			synctest.Wait()
			b.mu.Lock()
			defer b.mu.Unlock()
			return strings.Count(out.String(), "\n")
		}
		log.Info("one")
		time.Sleep(logWait - time.Nanosecond)
		log.Info("two")
		if n := written(); n != 0 {
			t.Errorf("%d lines are written before their time", n)
		}
		time.Sleep(time.Nanosecond)
		if n := written(); n != 2 {
			t.Errorf("%d lines after %v, want 2", n, logWait)
		}
		log.Info("three")
		log.Warn("four")
		if n := written(); n != 4 {
			t.Errorf("%d lines after a warning, want 4", n)
		}
		log.Info(strings.Repeat("x", logBuffer))
		if n := written(); n != 5 {
			t.Errorf("%d lines after a long one, want 5", n)
		}
		log.Info("six")
		if err := b.Flush(); err != nil || written() != 6 {
			t.Errorf("%d lines at the end, want 6: %v", written(), err)
		}
		for i, want := range []string{"one", "two", "three", "four", "xxx", "six"} {
			if line := strings.Split(out.String(), "\n")[i]; !strings.Contains(line, "msg="+want) || !strings.Contains(line, "a=1") {
				t.Errorf("line %d is %.80q, want %s", i, line, want)
			}
		}
	})
}
