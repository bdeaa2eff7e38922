package browser_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"herald/internal/app"
	"herald/internal/test/browser"
)

// proxy stands between the browser and the service, and counts what open pages ask for.
type proxy struct {
	*httptest.Server
	t       *testing.T
	to      atomic.Pointer[url.URL]
	up      atomic.Pointer[chan struct{}]    // closed while the service can be reached
	instead atomic.Pointer[http.HandlerFunc] // answers for streams; nil: the service does
	asked   atomic.Int64                     // how often pages asked whether something is new
	streams atomic.Int64                     // that were asked for
	open    atomic.Int64                     // of them, that were answered
}

func newProxy(t *testing.T, s *service) *proxy {
	t.Helper()
	p := &proxy{t: t}
	p.leadsTo(s)
	handler := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(p.to.Load())
		r.Out.Host = r.In.Host
	}, ModifyResponse: func(r *http.Response) error {
		if isStream(r.Request) {
			r.Body = p.opened(r.Body)
		}
		return nil
	}, ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() != context.Canceled {
			t.Errorf("%s: %v", r.URL, err)
		}
	}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-*p.up.Load():
		case <-r.Context().Done():
			return
		}
		if r.Header.Get("Herald-Refresh") != "" {
			p.asked.Add(1)
		}
		if isStream(r) {
			p.streams.Add(1)
			if instead := p.instead.Load(); instead != nil {
				defer p.opened(http.NoBody).Close()
				(*instead)(w, r)
				return
			}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func isStream(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/live") }

// opened counts a stream until its body is closed.
func (p *proxy) opened(body io.ReadCloser) io.ReadCloser {
	p.open.Add(1)
	return &streamBody{ReadCloser: body, close: sync.OnceFunc(func() { p.open.Add(-1) })}
}

type streamBody struct {
	io.ReadCloser
	close func()
}

func (b *streamBody) Close() error {
	b.close()
	return b.ReadCloser.Close()
}

// leadsTo sends the next requests to a service.
func (p *proxy) leadsTo(s *service) {
	to, err := url.Parse(s.origin)
	if err != nil {
		p.t.Fatal(err)
	}
	up := make(chan struct{})
	close(up)
	p.to.Store(to)
	p.up.Store(&up)
}

// waits lets the next requests wait until it leads to a service again.
func (p *proxy) waits() (end func()) {
	up := make(chan struct{})
	p.up.Store(&up)
	return func() { close(up) }
}

// until waits until a condition holds.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: did not happen within a minute", what)
		}
	}
}

// follows opens a list of deliveries through the proxy, and waits until it has a stream.
func follows(t *testing.T, p *proxy, a *account, tab *browser.Tab) {
	t.Helper()
	tab.Open(a.path("/deliveries"), http.StatusOK)
	until(t, "the page has a stream", func() bool { return p.open.Load() == 1 })
}

// hide makes the page think that it is hidden, or is shown again.
func hide(tab *browser.Tab, hidden string) {
	browser.Ask[bool](tab, `Object.defineProperty(document, "hidden", { value: `+hidden+`, configurable: true }) &&
		document.dispatchEvent(new Event("visibilitychange"))`)
}

// noPolls makes waits of more than two seconds endless: a page asks for nothing by itself then.
const noPolls = `{ const wait = setTimeout; window.setTimeout = (f, ms, ...more) => ms > 2000 ? 0 : wait(f, ms, ...more); }`

const oneIsNew = `document.getElementById("new-rows")?.textContent === "1 new"`

// TestOpenPageIsToldOfADelivery: a page that asks for nothing by itself shows what is new, with few questions; and it has a
// stream only while it is seen.
func TestOpenPageIsToldOfADelivery(t *testing.T) {
	s := startService(t)
	p := newProxy(t, s)
	a := s.account("Acme")
	a.rule("Sync Failed", receiver(t, answers(http.StatusOK, `{}`)), companies[0])
	a.publish(companies[0])
	tab := browser.NewTab(t, p.URL)
	signIn(tab, a.APIKey)
	tab.Before(noPolls)
	follows(t, p, a, tab)
	a.publish(companies[0])
	tab.Until(oneIsNew)
	if asked := p.asked.Load(); asked == 0 || asked > 2 {
		t.Errorf("the page asked %d times for one delivery", asked)
	}
	hide(tab, "true")
	until(t, "the hidden page closes its stream", func() bool { return p.open.Load() == 0 })
	hide(tab, "false")
	until(t, "the page opens a stream again", func() bool { return p.open.Load() == 1 })
	tab.Goes("leave", click(`nav a[href$="/rules"]`))
	until(t, "the page that was left closes its stream", func() bool { return p.open.Load() == 0 })
}

// silentAfter answers with the beginning of a stream, and with no more.
func silentAfter(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// TestPageAsksWhereNoStreamGetsThrough: where there are too many, behind a proxy that holds streams back or ends them, and
// where one falls silent. The page asks as without a stream, and does not try one after the other.
func TestPageAsksWhereNoStreamGetsThrough(t *testing.T) {
	s := startService(t)
	p := newProxy(t, s)
	a := s.account("Acme")
	a.rule("Sync Failed", receiver(t, answers(http.StatusOK, `{}`)), companies[0])
	a.publish(companies[0])
	tab := browser.NewTab(t, p.URL)
	signIn(tab, a.APIKey)
	tab.Hurry()
	for what, instead := range map[string]http.HandlerFunc{
		"is held back": silentAfter(""), "falls silent": silentAfter("data: 600000\n\n"),
		"is refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"is cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 600000\n\n")
		},
	} {
		p.instead.Store(&instead)
		p.streams.Store(0)
		tab.Open(a.path("/deliveries"), http.StatusOK)
		until(t, "the page gives the stream up that "+what, func() bool { return p.streams.Load() == 1 && p.open.Load() == 0 })
		a.publish(companies[0])
		tab.Until(oneIsNew)
		before := p.asked.Load()
		until(t, "the page goes on asking", func() bool { return p.asked.Load() >= before+3 })
		if n := p.streams.Load(); n != 1 {
			t.Errorf("where a stream %s, the page tried %d", what, n)
		}
	}
}

// TestOpenPageOutlivesARestart: it asks until the service is back, and gets a stream of the new process.
func TestOpenPageOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	inDir := func(c *app.Config) { c.DataDir = dir }
	s := startService(t, inDir)
	p := newProxy(t, s)
	a := s.account("Acme")
	hook := receiver(t, answers(http.StatusOK, `{}`))
	a.rule("Sync Failed", hook, companies[0])
	a.publish(companies[0])
	tab := browser.NewTab(t, p.URL)
	signIn(tab, a.APIKey)
	tab.Before(`{ const now = performance.now.bind(performance); window.later = 0; performance.now = () => now() + later; }`)
	follows(t, p, a, tab)
	end := p.waits()
	s.stop()
	until(t, "the stream has ended", func() bool { return p.open.Load() == 0 })
	browser.Ask[int](tab, `later = 60_000`) // so long after the last one a stream may be tried
	s = startService(t, inDir)
	p.leadsTo(s)
	end()
	until(t, "the page has a stream again", func() bool { return p.open.Load() == 1 })
	a.s, a.api = s, s.as(a.APIKey)
	a.publish(companies[0])
	tab.Until(oneIsNew)
}
