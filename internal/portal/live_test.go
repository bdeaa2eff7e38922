package portal

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
)

// opened is a stream that a page holds open. It is read while all goroutines wait.
type opened struct {
	*httptest.ResponseRecorder
	t        *testing.T
	end      context.CancelFunc
	deadline time.Time // of the next write
	timeout  *time.Timer
	read     time.Time   // until when the request may be read; zero: for ever
	gone     atomic.Bool // the browser

	mu           sync.Mutex
	done         bool
	marked, beat int
	text         strings.Builder
}

func (o *opened) SetReadDeadline(at time.Time) error {
	o.read = at
	return nil
}

// SetWriteDeadline is that of HTTP/2: the stream ends at the deadline, whether something is written or not.
func (o *opened) SetWriteDeadline(at time.Time) error {
	if o.deadline = at; o.timeout != nil {
		o.timeout.Stop()
	}
	if !at.IsZero() {
		o.timeout = time.AfterFunc(time.Until(at), o.end)
	}
	return nil
}

func (o *opened) FlushError() error { return nil }

func (o *opened) Write(p []byte) (int, error) {
	if left := time.Until(o.deadline); left <= 0 || left > time.Minute {
		o.t.Errorf("the deadline of a write is %v away", left)
	}
	if o.gone.Load() {
		return 0, errors.New("write: broken pipe")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch text := string(p); {
	case strings.HasPrefix(text, "data: "):
		o.marked++
	case strings.HasPrefix(text, "event: heartbeat\n"):
		o.beat++
	default:
		o.t.Errorf("the stream has %q", text)
	}
	return o.text.Write(p)
}

func (o *opened) marks() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.marked
}

func (o *opened) beats() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.beat
}

func (o *opened) body() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// ended reports whether the answer is complete.
func (o *opened) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done
}

func (o *opened) WriteString(text string) (int, error) { return o.Write([]byte(text)) }

// follow opens the stream of a client's pages with a session, and waits for what is sent first.
func (f *fixture) follow(session string, client uuid.UUID) *opened {
	f.t.Helper()
	ctx, end := context.WithCancel(f.t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, of(client, "/live"), nil)
	r.Header.Set("Accept", "text/event-stream")
	if session != "" {
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: session})
	}
	o := &opened{ResponseRecorder: httptest.NewRecorder(), t: f.t, end: end, read: time.Now()}
	go func() {
		f.handler.ServeHTTP(o, r)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.done = true
	}()
	f.t.Cleanup(end)
	after(markPause)
	return o
}

// after lets a time go by, and what happens then.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func inTime(t *testing.T, test func(t *testing.T, f *fixture, live *Live)) {
	synctest.Test(t, func(t *testing.T) {
		live := NewLive(8, false)
		test(t, newFixture(t, func(o *Options) { o.Live = live }), live)
	})
}

// TestOpenPageIsToldOfItsClientsChanges: at most once a second, and of no other client's.
func TestOpenPageIsToldOfItsClientsChanges(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		s, operators := f.follow(f.signedIn("acme"), acme), f.follow(f.signedIn("operator"), acme)
		others := f.follow(f.signedIn("rival"), rival)
		if s.marks() != 1 || operators.marks() != 1 || others.marks() != 1 {
			t.Fatalf("the first marks: %d, %d, %d", s.marks(), operators.marks(), others.marks())
		}
		h := s.Header()
		if s.Code != http.StatusOK || h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" || h.Get("Cache-Control") != "no-store" || !s.read.IsZero() {
			t.Errorf("status %d, %v, to be read until %v", s.Code, h, s.read)
		}
		if body := s.body(); body != "data: 600000\n\n" {
			t.Errorf("a mark is %q", body)
		}
		after(markPause)
		live.Changed(acme)
		if after(gatherMarks - time.Millisecond); s.marks() != 1 {
			t.Error("the mark does not wait for what follows")
		}
		if after(3 * spreadMarks); s.marks() != 2 || operators.marks() != 2 || others.marks() != 1 {
			t.Errorf("after a change: %d, %d, and %d of another client's page", s.marks(), operators.marks(), others.marks())
		}
		for range 1000 {
			live.Changed(acme)
			after(10 * time.Millisecond)
		}
		if after(longestMarkPause); s.marks() < 6 || s.marks() > 7 {
			t.Errorf("10 s with 100 changes a second gave %d marks", s.marks()-2)
		}
		before := s.marks()
		if after(10 * time.Minute); s.marks() != before || s.beats() < 23 || s.beats() > 25 {
			t.Errorf("in ten quiet minutes there were %d marks and %d heartbeats", s.marks()-before, s.beats())
		}
	})
}

// TestInboxTellsItsOwnersPages, whoever has sent something to it.
func TestInboxTellsItsOwnersPages(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, _ *Live) {
		came := make(chan struct{})
		f.came = came
		s, others := f.follow(f.signedIn("acme"), acme), f.follow(f.signedIn("rival"), rival)
		f.came = make(chan struct{})
		close(came)
		if after(time.Minute); s.marks() != 2 || others.marks() != 1 {
			t.Errorf("%d marks, and %d of another client's page", s.marks(), others.marks())
		}
	})
}

// TestManyPagesAreNotToldAtOnce, so that they do not all ask at once.
func TestManyPagesAreNotToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := NewLive(400, false)
		f := newFixture(t, func(o *Options) { o.Live = live })
		var all []*opened
		for range 200 {
			all = append(all, f.follow(f.signedIn("acme"), acme))
		}
		after(markPause)
		live.Changed(acme)
		most, told := 0, 0
		for range 50 { // in 5 s
			after(100 * time.Millisecond)
			now := 0
			for _, s := range all {
				now += s.marks() - 1
			}
			most, told = max(most, now-told), now
		}
		if most > 40 || told != len(all) {
			t.Errorf("%d pages are told within a tenth of a second, and %d of %d in the end", most, told, len(all))
		}
	})
}

// TestChangeDuringAMarkIsTold: a change after a mark was written has a mark of its own.
func TestChangeDuringAMarkIsTold(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		s := f.follow(f.signedIn("acme"), acme)
		for want := 2; want < 20; want++ {
			live.Changed(acme)
			began := time.Now()
			for before := s.marks(); s.marks() == before && time.Since(began) < time.Hour; after(time.Millisecond) {
			}
			if took := time.Since(began); s.marks() != want || took > longestMarkPause+time.Millisecond || want == 2 && took > markPause {
				t.Fatalf("%d marks, want %d; the last one came after %v", s.marks(), want, took)
			}
		}
	})
}

// TestStreamEndsWithItsSession, on whichever node that has ended; and not while the database does not say so.
func TestStreamEndsWithItsSession(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		session := f.signedIn("acme")
		s, other := f.follow(session, acme), f.follow(f.signedIn("acme"), acme)
		if after(time.Hour); s.ended() || other.ended() {
			t.Fatal("a stream ended by itself")
		}
		if err := f.EndSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		if after(sessionPause); !s.ended() || other.ended() || live.Streams() != 1 {
			t.Errorf("after the end of its session: %v, the other's %v, %d streams", s.ended(), other.ended(), live.Streams())
		}
		if s := f.follow(session, acme); s.Code != http.StatusNoContent || !s.ended() {
			t.Errorf("without a session: status %d", s.Code)
		}
	})
}

// TestStopEndsStreamsAtOnce, and lets no more begin.
func TestStopEndsStreamsAtOnce(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		s, next := f.follow(f.signedIn("acme"), acme), f.follow(f.signedIn("rival"), rival)
		live.Changed(acme)
		live.Close()
		live.Close()
		if synctest.Wait(); !s.ended() || !next.ended() || live.Streams() != 0 {
			t.Errorf("streams have ended: %v, %v; %d are left", s.ended(), next.ended(), live.Streams())
		}
		if s := f.follow(f.signedIn("acme"), acme); s.Code != http.StatusNoContent || !s.ended() {
			t.Errorf("a stream after the end: status %d", s.Code)
		}
		live.Changed(acme)
	})
}

// TestStreamEndsWithItsPage: when the browser closes it, and when a write does not get through.
func TestStreamEndsWithItsPage(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		s, stuck := f.follow(f.signedIn("acme"), acme), f.follow(f.signedIn("acme"), acme)
		s.end()
		if synctest.Wait(); !s.ended() || live.Streams() != 1 {
			t.Errorf("ended: %v, %d streams", s.ended(), live.Streams())
		}
		stuck.gone.Store(true)
		if after(heartbeatPause); !stuck.ended() || live.Streams() != 0 || len(live.byClient)+len(live.sessions) != 0 {
			t.Errorf("ended: %v, %d streams, %v, %v", stuck.ended(), live.Streams(), live.byClient, live.sessions)
		}
	})
}

// TestStreamsAreBounded: of a session, of a client, of a node. Whoever gets none is told so in a way that browsers do not
// repeat.
func TestStreamsAreBounded(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		session := f.signedIn("acme")
		var open []*opened
		follow := func(session string, client uuid.UUID, want bool) {
			t.Helper()
			s := f.follow(session, client)
			if open = append(open, s); s.ended() == want || s.Code == http.StatusOK != want {
				t.Errorf("stream %d: status %d, ended %v", len(open), s.Code, s.ended())
			}
			if !want && (s.Code != http.StatusNoContent || s.marks() != 0) {
				t.Errorf("stream %d is refused with the status %d", len(open), s.Code)
			}
		}
		for range sessionStreams {
			follow(session, acme, true)
		}
		follow(session, acme, false)
		open[0].end()
		synctest.Wait()
		follow(session, acme, true)
		follow(f.signedIn("acme"), acme, true)
		follow(f.signedIn("acme"), acme, false) // half of all are those of one client
		for range 4 {
			follow(f.signedIn("rival"), rival, true)
		}
		follow(f.signedIn("rival"), rival, false)
		if live.Streams() != 8 {
			t.Errorf("%d streams", live.Streams())
		}
	})
}

// TestStreamIsNoUseAndNoView: a page that is left open keeps no session alive, and the operator is recorded as viewing
// the page, not its stream.
func TestStreamIsNoUseAndNoView(t *testing.T) {
	inTime(t, func(t *testing.T, f *fixture, live *Live) {
		s := f.follow(f.signedIn("operator"), acme)
		after(time.Minute)
		if s.marks() == 0 || f.uses != 0 || len(f.views) != 0 {
			t.Errorf("%d marks, %d uses, views %v", s.marks(), f.uses, f.views)
		}
		f.fail = herald.Errorf(herald.CodeUnavailable, "away")
		if w := f.request(f.signedIn("acme"), http.MethodHead, of(acme, "/live"), nil); w.Code != http.StatusOK || w.Body.Len() != 0 || live.Streams() != 1 {
			t.Errorf("HEAD: status %d, %q, %d streams", w.Code, w.Body, live.Streams())
		}
	})
}

// TestPagesOfSharedDatabasesAskThemselves: this node does not hear what others change.
func TestPagesOfSharedDatabasesAskThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(o *Options) { o.Live = NewLive(8, true) })
		if s := f.follow(f.signedIn("acme"), acme); s.body() != "data: 5000\n\n" {
			t.Errorf("a mark is %q", s.body())
		}
	})
}

// TestStreamIsNoPage: tests that open every page leave it out, and those that look for another client's data do not.
func TestStreamIsNoPage(t *testing.T) {
	isLive := func(at route) bool { return at.pattern == livePattern }
	if slices.Contains(Patterns(), livePattern) || !slices.ContainsFunc((&portal{}).routes(), isLive) {
		t.Error("the stream is listed as a page, or has no route")
	}
}

// BenchmarkChangedWithoutStreams is what a commit pays while no page is open.
func BenchmarkChangedWithoutStreams(b *testing.B) {
	live := NewLive(8, false)
	for b.Loop() {
		live.Changed(acme)
	}
}

// TestRowsThatLeftAListAreKnown: a page that refreshes itself learns what became of the deliveries that it shows, also if they
// do not meet its filter any more. Other clients' and unknown ones are left out.
func TestRowsThatLeftAListAreKnown(t *testing.T) {
	f := newFixture(t)
	session, list := f.signedIn("acme"), of(acme, "/deliveries?state=pending")
	f.deliveries[0].State = herald.Cancelled
	id := deliveryID(acme).String()
	f.head.Set(refreshHeader, "1")
	f.head.Set(shownHeader, id+","+deliveryID(rival).String()+","+uuid.NewString())
	text := f.page(session, http.StatusOK, list)
	_, left, found := strings.Cut(text, `<div id="left" hidden>`)
	if !found || !strings.Contains(left, of(acme, "/deliveries/"+id)) || !strings.Contains(left, "Cancelled") || strings.Count(left, `<tr role="row"><td`) != 1 {
		t.Errorf("what left the list:\n%s", text)
	}
	if text := f.page(session, http.StatusOK, of(acme, "/deliveries")); strings.Contains(text, `id="left"`) {
		t.Error("a delivery in the list left it")
	}
	f.head.Set(shownHeader, "x")
	f.page(session, http.StatusBadRequest, list)
}

// TestPagesThatSayHowThingsAreStayUpToDate: the overview and the operator's pages ask for themselves while they are open.
func TestPagesThatSayHowThingsAreStayUpToDate(t *testing.T) {
	f := newFixture(t)
	has(t, f.page(f.signedIn("acme"), http.StatusOK, of(acme, "")), `data-live="page"`)
	has(t, f.page(f.signedIn("operator"), http.StatusOK, Path+"clients"), `data-live="page"`)
	has(t, f.page(f.signedIn("operator"), http.StatusOK, Path+"system"), `data-live="page"`, "data-as-of")
}
