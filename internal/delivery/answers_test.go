package delivery

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// longAnswer is an attempt of which a receiver has filled every part.
func longAnswer() *herald.Attempt {
	long := strings.Repeat("x", 64<<10)
	hops := []herald.Hop{{Status: 307, URL: long[:8<<10]}, {Status: 307, URL: long[:8<<10]}}
	return &herald.Attempt{Error: long[:2<<10], Request: &herald.RequestRecord{Hops: hops},
		Response: &herald.ResponseRecord{Headers: map[string][]string{"X": {long[:8<<10]}}, Body: long}}
}

func TestAnswersOfOneClientAreBoundedPerDay(t *testing.T) {
	const quota = 1 << 20
	var a answers
	one, other := uuid.New(), uuid.New()
	now := time.Date(2026, 11, 28, 1, 0, 0, 0, time.UTC)
	stored, short := 0, 0
	for range 200 {
		attempt, done := a.admit(longAnswer(), one, quota, now)
		done()
		stored += answerSize(attempt)
		if attempt.Response.Note != "" {
			short++
			if !strings.Contains(attempt.Response.Note, "1 MiB today") || !attempt.Response.Truncated || len(attempt.Response.Body) > 1<<10 || len(attempt.Response.Body) < 1000 {
				t.Fatalf("shortened to %+v", attempt.Response)
			}
		}
	}
	if stored > quota+200*4<<10 || short < 150 {
		t.Errorf("%d bytes are stored, and %d of 200 answers are short", stored, short)
	}
	if attempt, _ := a.admit(longAnswer(), other, quota, now); attempt.Response.Note != "" {
		t.Errorf("another client's answer is short: %s", attempt.Response.Note)
	}
	for _, day := range []time.Time{now.Add(24 * time.Hour), now.Add(-24 * time.Hour)} {
		if attempt, _ := a.admit(longAnswer(), one, quota, day); attempt.Response.Note != "" {
			t.Errorf("the answer of another day is short: %s", attempt.Response.Note)
		}
	}
	small := &herald.Attempt{Response: &herald.ResponseRecord{Headers: map[string][]string{"Server": {"x"}}, Body: "ok"}}
	if attempt, _ := a.admit(small, one, 1, now); attempt != small {
		t.Errorf("a small answer over the quota became %+v", attempt)
	}
	if attempt, done := a.admit(nil, one, quota, now); attempt != nil || done == nil {
		t.Error("no attempt has no answer")
	}
}

// TestWaitingAnswersAreBounded: results that wait for a database that takes no writes are charged, and
// given back when they are recorded.
func TestWaitingAnswersAreBounded(t *testing.T) {
	var a answers
	var ends []func()
	kept := 0
	for range 16384 { // as many as the window holds
		attempt, done := a.admit(longAnswer(), uuid.New(), 0, time.Now())
		ends = append(ends, done)
		kept += answerSize(attempt)
	}
	if kept > maxWaitingAnswers+16384*4<<10 {
		t.Errorf("%d MiB of answers wait", kept>>20)
	}
	if attempt, _ := a.admit(longAnswer(), uuid.New(), 0, time.Now()); !strings.Contains(attempt.Response.Note, "Too many answers wait to be recorded") {
		t.Errorf("over the bound an answer is kept with the note %q", attempt.Response.Note)
	} else {
		a.waiting -= answerSize(attempt)
	}
	for _, done := range ends {
		done()
	}
	if a.waiting != 0 {
		t.Errorf("%d bytes are still charged", a.waiting)
	}
}
