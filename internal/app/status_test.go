package app

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

func TestWhatNeedsAttention(t *testing.T) {
	now := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	client := uuid.MustParse("11111111-1111-4111-8111-111111111111")
	well := herald.Status{At: now, Backlog: &herald.Backlog{Pending: 9, Held: 9, OldestDue: ago(time.Second)}, Database: &herald.DatabaseStatus{Kind: "SQLite"}, LastBackup: ago(25 * time.Hour)}
	with := func(change func(*herald.Status)) herald.Status {
		s := well
		change(&s)
		return s
	}
	for _, test := range []struct {
		name   string
		status herald.Status
		faults faults
		shared bool
		want   []string // the starts of the lines
	}{
		{"all is well", well, faults{}, false, nil},
		{"not ready", well, faults{notReady: herald.Errorf(herald.CodeUnavailable, "Publishing does not work: the disk is full.")}, false,
			[]string{"the service is not ready: Publishing does not work: the disk is full."}},
		{"inner errors stay inside", well, faults{notReady: errors.New("password hunter2")}, false, []string{"the service is not ready: it does not answer"}},
		{"no database", herald.Status{At: now}, faults{notRead: herald.Errorf(herald.CodeUnavailable, "The database does not take requests right now.")}, false,
			[]string{"the database gives no figures: The database"}},
		{"certificate before the rest", with(func(s *herald.Status) { s.LastBackup = nil }), faults{certificate: "the certificate expired", notices: []string{"sending pauses"}}, false,
			[]string{"the certificate expired", "sending pauses", "no backup was taken"}},
		{"late", with(func(s *herald.Status) { s.Backlog = &herald.Backlog{OldestDue: ago(3 * time.Minute)} }), faults{}, false, []string{"a delivery has been due for 3m0s"}},
		{"slow", with(func(s *herald.Status) {
			s.SlowReceivers = []herald.SlowReceiver{{ClientID: client, Receiver: "https://acme.example", Waiting: 12, Since: *ago(time.Hour)}}
		}), faults{}, false, []string{"https://acme.example of client " + client.String() + " has 12 deliveries pending, the oldest since 2026-05-03T08:00:00Z"}},
		{"old backup", with(func(s *herald.Status) { s.LastBackup = ago(73 * time.Hour) }), faults{}, false, []string{"the last backup with herald backup is 3 days old"}},
		{"PostgreSQL has its own backups", with(func(s *herald.Status) { s.LastBackup = nil }), faults{}, true, nil},
	} {
		got := attention(test.status, test.faults, !test.shared)
		if !slices.EqualFunc(got, test.want, strings.HasPrefix) || got == nil {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
