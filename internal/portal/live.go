package portal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of the streams that open pages hold, beside Live's own on all of them.
const (
	// DefaultMaxStreams is how many streams a node has at most: each is a connection.
	DefaultMaxStreams = 1024
	// sessionStreams is how many streams a session has on one node. A browser has six connections to a host with
	// HTTP/1.1, and needs some for its pages.
	sessionStreams = 3
	// clientShare is which part of the streams the pages of one client may have.
	clientShare = 2
	// gatherMarks is how long a mark waits for further changes: an event is often delivered just after it was accepted.
	// spreadMarks is how much longer, at most, for each page of the client: so many pages do not all ask at once.
	gatherMarks = 500 * time.Millisecond
	spreadMarks = 10 * time.Millisecond
	// markPause is the least time between two marks of a stream. While changes go on it doubles, up to longestMarkPause:
	// pages that are told again and again ask ever more rarely.
	markPause        = time.Second
	longestMarkPause = 8 * time.Second
	// heartbeatPause is shorter than the time after which proxies close a connection that is silent.
	heartbeatPause = 25 * time.Second
	// sessionPause is how long a stream may outlive its session.
	sessionPause = 10 * time.Second
	// streamWrite bounds a write to a stream. Its few bytes fit into the socket of a browser that reads.
	streamWrite = 10 * time.Second
)

// How long a page that has a stream does not ask by itself. On a database that nodes share, this node does not hear what
// the others change, so pages ask as often as without a stream.
const (
	restAlone  = 10 * time.Minute
	restShared = 5 * time.Second // soonest of live.js
)

// Live tells the portal's open pages that something of their client has changed, so that they need not ask again and again:
//
//	commit ─▶ Changed ─▶ stream ─▶ "ask again" ─▶ the page asks for itself, as without a stream
//
// A stream has no data, only such marks, so it can show nothing that its session may not see. It is safe for
// concurrent use.
type Live struct {
	most int
	rest time.Duration
	n    atomic.Int64 // streams; while there are none, Changed costs one load

	mu       sync.Mutex
	byClient map[uuid.UUID]map[*stream]struct{}
	sessions map[[sha256.Size]byte]int // how many streams each has
	closed   bool
	ended    chan struct{}
}

// stream is what one open page is told by.
type stream struct {
	client  uuid.UUID
	session [sha256.Size]byte
	changed chan struct{} // has a value when a mark is due
}

// NewLive returns a Live with at most so many streams. shared says that other nodes use the database too.
func NewLive(most int, shared bool) *Live {
	l := &Live{most: most, rest: restAlone, byClient: make(map[uuid.UUID]map[*stream]struct{}), sessions: make(map[[sha256.Size]byte]int), ended: make(chan struct{})}
	if shared {
		l.rest = restShared
	}
	return l
}

// Changed says that something of a client has changed. It returns at once.
func (l *Live) Changed(client uuid.UUID) {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.byClient[client] {
		s.mark()
	}
}

// Close ends all streams and lets no more begin: the pages ask by themselves, or get a stream of another node. A second
// call does nothing.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.ended)
	}
}

// Streams returns how many streams are open.
func (l *Live) Streams() int { return int(l.n.Load()) }

// join adds a stream of a client's page, or returns nil when there are too many. leave follows.
func (l *Live) join(client uuid.UUID, session string) *stream {
	s := &stream{client, sha256.Sum256([]byte(session)), make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := len(l.byClient[client]); l.closed || int(l.n.Load()) >= l.most || of >= max(l.most/clientShare, 1) || l.sessions[s.session] >= sessionStreams {
		return nil
	}
	if l.byClient[client] == nil {
		l.byClient[client] = make(map[*stream]struct{})
	}
	l.byClient[client][s] = struct{}{}
	l.sessions[s.session]++
	l.n.Add(1)
	return s
}

func (l *Live) leave(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.byClient[s.client], s); len(l.byClient[s.client]) == 0 {
		delete(l.byClient, s.client)
	}
	if l.sessions[s.session]--; l.sessions[s.session] == 0 {
		delete(l.sessions, s.session)
	}
	l.n.Add(-1)
}

// spread returns how much longer a mark of a client's page waits than others.
func (l *Live) spread(client uuid.UUID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return rand.N(time.Duration(len(l.byClient[client])) * spreadMarks) // at least this page
}

func (s *stream) mark() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// seen takes the mark back, because one is sent now.
func (s *stream) seen() {
	select {
	case <-s.changed:
	default:
	}
}

// livePattern is the route of the streams. It is no page: that a stream is open is no use of its session, and the
// operator's view is that of the page.
const livePattern = "GET " + clientPath + "/live"

// live is the stream of an open page, as server-sent events.
func (p *portal) live(*http.Request, visit) (answer, error) { return answer{stream: true}, nil }

// follow writes a stream until the page, the session or the service ends. A page that gets none (204) asks by
// itself; browsers do not try again then.
func (p *portal) follow(w http.ResponseWriter, r *http.Request, v visit) {
	session := p.sessionCookie(r)
	s := p.Live.join(v.client.ID, session)
	if s == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer p.Live.leave(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the marks to itself
	if r.Method == http.MethodHead {
		return
	}
	out := &streamWriter{w, http.NewResponseController(w)}
	defer out.bound() // the last bytes of the answer
	// The server's timeout of reading would end the stream.
	if err := out.control.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	heartbeat, check := time.NewTicker(heartbeatPause), time.NewTicker(sessionPause)
	defer heartbeat.Stop()
	defer check.Stop()
	// While a mark is due, further changes need no other one.
	var due <-chan time.Time
	mark, changed := fmt.Sprintf("data: %d\n\n", p.Live.rest.Milliseconds()), s.changed
	// The first mark says that the stream works. What has changed since the page was made is seen with it.
	last, pause, err := time.Now(), markPause/2, out.send(mark)
	came := p.nextReceived(v.client.ID)
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-p.Live.ended:
			return
		case <-check.C:
			if p.hasEnded(r.Context(), session) {
				return
			}
		case <-heartbeat.C:
			err = out.send("event: heartbeat\ndata: 1\n\n")
		case <-came: // from elsewhere, perhaps
			s.mark()
			came = p.nextReceived(v.client.ID)
		case <-changed:
			if pause = min(2*pause, longestMarkPause); time.Since(last) > pause { // after a quiet time
				pause = markPause / 2
			}
			changed, due = nil, time.After(max(gatherMarks+p.Live.spread(s.client), pause-time.Since(last)))
		case <-due:
			s.seen()
			changed, due, last = s.changed, nil, time.Now()
			err = out.send(mark)
		}
	}
}

// hasEnded reports whether a session has ended. While the database does not answer, it has not.
func (p *portal) hasEnded(ctx context.Context, session string) bool {
	_, err := p.Sessions.Session(ctx, session, false)
	return herald.CodeOf(err) == herald.CodeUnauthorized
}

// streamWriter writes a stream.
type streamWriter struct {
	io.Writer
	control *http.ResponseController
}

// send writes an event, within streamWrite. HTTP/2 ends a stream whose deadline goes by even if nothing is being written,
// so there is none in between.
func (w *streamWriter) send(event string) error {
	w.bound()
	if _, err := io.WriteString(w, event); err != nil {
		return err
	}
	if err := w.control.Flush(); err != nil {
		return err
	}
	return w.control.SetWriteDeadline(time.Time{})
}

// bound sets the deadline of what is written next.
func (w *streamWriter) bound() { _ = w.control.SetWriteDeadline(time.Now().Add(streamWrite)) } // fails when the connection has gone
