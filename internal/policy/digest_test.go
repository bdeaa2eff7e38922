package policy_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/internal/policy"
)

func TestMailsOverTheLimitBecomeADigest(t *testing.T) {
	began := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	mine, other := uuid.UUID{1}, uuid.UUID{2}
	d := policy.Digest{Limit: 2, Window: 10 * time.Minute}
	window := func(sent int, carrier uuid.UUID) policy.MailWindow {
		return policy.MailWindow{Began: began, Sent: sent, Carrier: carrier}
	}
	for name, c := range map[string]struct {
		digest policy.Digest
		window policy.MailWindow
		retry  bool
		after  time.Duration
		want   policy.MailAction
		next   policy.MailWindow
	}{
		"below the limit":            {d, window(1, uuid.Nil), false, time.Minute, policy.SendMail, window(2, uuid.Nil)},
		"the first over the limit":   {d, window(2, uuid.Nil), false, time.Minute, policy.CarryDigest, window(2, mine)},
		"another has become carrier": {d, window(2, other), false, time.Minute, policy.JoinDigest, window(2, other)},
		"it is the carrier":          {d, window(2, mine), false, 10 * time.Minute, policy.SendDigest, window(2, mine)},
		"the carrier's retry":        {d, window(2, mine), true, 11 * time.Minute, policy.SendDigest, window(2, mine)},
		"a retry beside a digest":    {d, window(2, other), true, time.Minute, policy.SendMail, window(2, other)},
		"a retry at the limit":       {d, window(2, uuid.Nil), true, time.Minute, policy.SendMail, window(2, uuid.Nil)},
		"the last moment of it":      {d, window(2, uuid.Nil), false, 10*time.Minute - 1, policy.CarryDigest, window(2, mine)},
		"the window is over": {d, window(2, uuid.Nil), false, 10 * time.Minute, policy.SendMail,
			policy.MailWindow{Began: began.Add(10 * time.Minute), Sent: 1}},
		"it began a year ahead": {d, window(2, uuid.Nil), false, -365 * 24 * time.Hour, policy.SendMail,
			policy.MailWindow{Began: began.Add(-365 * 24 * time.Hour), Sent: 1}},
		"over, and its digest waits": {d, window(2, other), false, 12 * time.Minute, policy.JoinDigest, window(2, other)},
		"no limit":                   {policy.Digest{Window: time.Minute}, window(9, uuid.Nil), false, 0, policy.SendMail, window(9, uuid.Nil)},
	} {
		got, next := c.digest.Decide(c.window, mine, c.retry, began.Add(c.after))
		if got != c.want || next != c.next {
			t.Errorf("%s: %v with %+v after it, want %v with %+v", name, got, next, c.want, c.next)
		}
	}
}
