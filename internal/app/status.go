package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"herald"
)

const (
	// lateAfter is how long a delivery may be due before that needs attention: longer than a busy moment.
	lateAfter = time.Minute
	// backupAfter is the age of the last backup that needs attention: a daily one has failed twice.
	backupAfter = 48 * time.Hour
)

// status returns how the service is. It does not fail if the database does: then it says so.
func (a *App) status(ctx context.Context) (herald.Status, error) {
	s, err := a.store.Status(ctx)
	if err != nil && herald.CodeOf(err) != herald.CodeUnavailable {
		return s, err
	}
	if err != nil {
		s = herald.Status{At: a.clock.Now()}
	}
	s.Version, s.RetentionDays = a.config.Version, a.config.Retention.Hours()/24
	if a.config.MailServer != nil {
		s.MailServer = a.config.MailServer.String()
	}
	// Empty lists in JSON, not null.
	if s.SlowReceivers == nil {
		s.SlowReceivers = []herald.SlowReceiver{}
	}
	if s.Clients == nil {
		s.Clients = []herald.ClientBacklog{}
	}
	f := faults{notReady: a.ready(ctx), notRead: err}
	if a.pair != nil {
		f.certificate, _ = a.pair.Trouble(time.Now())
	}
	for line := range strings.Lines(a.notice()) {
		f.notices = append(f.notices, strings.TrimSpace(line))
	}
	s.Attention = attention(s, f, !a.store.Shared())
	return s, nil
}

// faults are what the process itself knows to be wrong.
type faults struct {
	notReady    error // why publishes fail
	notRead     error // why the database gave no figures
	certificate string
	notices     []string
}

// attention says what needs attention, the most urgent first. ownBackups says that herald backup is how
// this database is backed up.
func attention(s herald.Status, f faults, ownBackups bool) []string {
	lines := []string{}
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if f.notReady != nil {
		say("the service is not ready: %s", shown(f.notReady))
	} else if f.notRead != nil {
		say("the database gives no figures: %s", shown(f.notRead))
	}
	if f.certificate != "" {
		say("%s", f.certificate)
	}
	lines = append(lines, f.notices...)
	if b := s.Backlog; b != nil && b.OldestDue != nil && s.At.Sub(*b.OldestDue) > lateAfter {
		say("a delivery has been due for %s: sending does not keep up, or waits for slow receivers", s.At.Sub(*b.OldestDue).Round(time.Second))
	}
	for _, r := range s.SlowReceivers {
		say("%s of client %s has %d deliveries pending, the oldest since %s", r.Receiver, r.ClientID, r.Waiting, r.Since.Format(time.RFC3339))
	}
	switch {
	case !ownBackups || s.Database == nil:
	case s.LastBackup == nil:
		say("no backup was taken with herald backup")
	case s.At.Sub(*s.LastBackup) > backupAfter:
		say("the last backup with herald backup is %d days old", int(s.At.Sub(*s.LastBackup)/(24*time.Hour)))
	}
	return lines
}

// shown returns what a caller of the API may see of an error.
func shown(err error) string {
	var known *herald.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return "it does not answer; the log says why"
}
