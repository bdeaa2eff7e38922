package certificate_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"herald/internal/certificate"
)

// logBuffer is a log that one goroutine writes and another reads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

// TestEndOfTheCertificateIsSaid watches a certificate of 30 days over 40 days, and then renews it.
func TestEndOfTheCertificateIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		var log logBuffer
		f := newFiles(t, madeUntil(t, "a.example", time.Now().Add(30*day+time.Hour)))
		p, err := certificate.Load(f.cert, f.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.Watch(ctx)
		for after, want := range []struct {
			days int
			says string
		}{{0, ""}, {16, ""}, {17, "WARN in 13 days"}, {30, "WARN in 0 days"}, {31, "ERROR expired at"}, {40, "ERROR expired at"}} {
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(want.days) * day)))
			synctest.Wait()
			level, words, _ := strings.Cut(want.says, " ")
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			last := lines[len(lines)-1]
			if want.says == "" && log.String() != "" || want.says != "" && (!strings.Contains(last, "level="+level) || !strings.Contains(last, words) || !strings.Contains(last, f.cert)) {
				t.Errorf("%d: after %d days the log ends with %q, want %q", after, want.days, last, want.says)
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines < 22 || lines > 26 {
			t.Errorf("%d lines in the last 24 days, want one a day:\n%s", lines, log.String())
		}
		log.Reset()
		f.write(madeUntil(t, "a.example", time.Now().Add(90*day)))
		time.Sleep(2 * day)
		synctest.Wait()
		if said := log.String(); !strings.Contains(said, "reloaded") || strings.Contains(said, "expire") {
			t.Errorf("after the renewal the log says %q", said)
		}
		log.Reset()
		f.write(madeUntil(t, "a.example", time.Now().Add(-day)))
		time.Sleep(2 * time.Second)
		name(t, p) // a handshake
		if said := log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "expired at") {
			t.Errorf("after it was replaced by an expired one the log says %q", said)
		}
	})
}

// TestTroubleOfDates: an expired certificate further up the chain may be left out by callers.
func TestTroubleOfDates(t *testing.T) {
	const day = 24 * time.Hour
	good, old := madeUntil(t, "a.example", time.Now().Add(90*day)), madeUntil(t, "Old Root", time.Now().Add(-day))
	for _, test := range []struct {
		name    string
		chain   pair
		at      time.Duration
		says    string
		refused bool
	}{
		{"good", good, 0, "", false},
		{"not yet", good, -100 * day, "not valid before", true},
		{"soon", good, 80 * day, "in 9 days", false},
		{"expired", old, 0, "expired at", true},
		{"root expired", pair{append(bytes.Clone(good.cert), old.cert...), good.key}, 0, `"Old Root"`, false},
	} {
		f := newFiles(t, test.chain)
		p, err := certificate.Load(f.cert, f.key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		text, refused := p.Trouble(time.Now().Add(test.at))
		if refused != test.refused || (text == "") != (test.says == "") || !strings.Contains(text, test.says) {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, text, refused, test.says, test.refused)
		}
	}
}
