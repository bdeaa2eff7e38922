package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"herald/internal/app"
)

// peer is a connection to the API from an address of its own.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (f *fixture) peer(from string) *peer {
	f.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(f.t.Context(), "tcp", f.app.Address())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return &peer{f.t, conn, bufio.NewReader(conn)}
}

// ask makes a request and returns the status, or 0 when the connection is closed instead.
func (p *peer) ask(request string) int {
	p.t.Helper()
	if _, err := io.WriteString(p, request); err != nil {
		return 0
	}
	return p.status()
}

func (p *peer) status() int {
	response, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// hasMetrics reports whether the metrics' own listener shows all these lines.
func (f *fixture) hasMetrics(lines ...string) bool {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "http://"+f.app.MetricsAddress()+"/metrics", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(string(text), "\n"+line+"\n") })
}

const health = "GET /healthz HTTP/1.1\r\nHost: herald\r\n\r\n"

// TestConnectionsAreBounded: one address has its share; when all places are taken, idle
// connections go first, and a connection that is in use stays.
func TestConnectionsAreBounded(t *testing.T) {
	// The metrics have a listener of their own, so that reading them takes no connection of the API.
	f := newFixture(t, func(c *app.Config) { c.MaxConnections, c.MetricsListen = 8, "127.0.0.1:0" })
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the fixture's own
	wait := func(open, idle int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d connections are open and %d idle", open, idle), func() bool {
			return f.hasMetrics(fmt.Sprintf("herald_http_connections %d", open), fmt.Sprintf("herald_http_connections_idle %d", idle))
		})
	}
	wait(0, 0)

	busy := f.peer("127.0.0.2")
	if _, err := io.WriteString(busy, strings.TrimSuffix(health, "\r\n")); err != nil {
		t.Fatal(err)
	}
	wait(1, 0)
	var idle []*peer
	connect := func(from string) {
		t.Helper()
		p := f.peer(from)
		if status := p.ask(health); status != 200 {
			t.Fatalf("status %d", status)
		}
		idle = append(idle, p)
		wait(1+len(idle), len(idle))
	}
	for range 3 {
		connect("127.0.0.2")
	}
	if status := f.peer("127.0.0.2").ask(health); status != 0 {
		t.Errorf("a fifth connection of one address got %d", status)
	}
	for range 4 {
		connect("127.0.0.3")
	}
	// All eight are taken. The longest idle goes for each that comes.
	for _, from := range []string{"127.0.0.4", "127.0.0.5", "127.0.0.6"} {
		if status := f.peer(from).ask(health); status != 200 {
			t.Errorf("from %s when all are taken: status %d", from, status)
		}
		wait(8, 7)
	}
	for i, p := range idle[:3] {
		if status := p.ask(health); status != 0 {
			t.Errorf("idle connection %d was not closed: status %d", i, status)
		}
	}
	if status := busy.ask("\r\n"); status != 200 {
		t.Errorf("the connection in use: status %d", status)
	}
	if !f.hasMetrics("herald_http_connections_limit 8", `herald_http_connections_closed_total{reason="address"} 1`, `herald_http_connections_closed_total{reason="idle"} 3`) {
		t.Error("the metrics do not tell of the limit and of what it closed")
	}
}

// TestRequestWithTwoLengthsIsRefused, and its connection closed, so that nothing is smuggled
// behind it. Each length alone is taken, on a connection that was used before too.
func TestRequestWithTwoLengthsIsRefused(t *testing.T) {
	f := newFixture(t)
	const start = "POST /unsubscribe/x HTTP/1.1\r\nHost: herald\r\n"
	const chunks = "\r\n4\r\nabcd\r\n0\r\n\r\n"
	for name, request := range map[string]string{
		"length first":         start + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + chunks,
		"encoding first":       start + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n" + chunks,
		"other case":           start + "CONTENT-length: 4\r\ntransfer-ENCODING: Chunked\r\n" + chunks,
		"blanks":               start + "Content-Length:4\r\nTransfer-Encoding:\tchunked\r\n" + chunks,
		"bare line feeds":      strings.ReplaceAll(start+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "\r\n", "\n") + chunks,
		"after a request":      health + start + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + chunks,
		"a length of no sense": start + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" + chunks,
	} {
		p := f.peer("127.0.0.1")
		status := p.ask(request + health)
		if strings.HasPrefix(request, health) {
			status = p.status()
		}
		if status != 400 {
			t.Errorf("%s: status %d, want 400", name, status)
		}
		if next := p.status(); next != 0 {
			t.Errorf("%s: what follows was answered with %d", name, next)
		}
	}
	p := f.peer("127.0.0.1")
	for i, request := range []string{
		start + "Content-Length: 4\r\n\r\nabcd", start + "Transfer-Encoding: chunked\r\n" + chunks, health,
		start + "Content-Length: 19\r\n\r\n\nContent-Length: 4\r\n", start + "Transfer-Encoding: chunked\r\n" + chunks,
	} {
		if status := p.ask(request); status != 404 && status != 200 {
			t.Errorf("request %d with one length: status %d", i, status)
		}
	}
}

// TestLengthIsSeenHoweverTheBytesCome, one by one too.
func TestLengthIsSeenHoweverTheBytesCome(t *testing.T) {
	f := newFixture(t)
	p := f.peer("127.0.0.1")
	request := "POST /unsubscribe/x HTTP/1.1\r\nHost: herald\r\nX: y\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	if err := p.Conn.(*net.TCPConn).SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	for i := range len(request) {
		if _, err := io.WriteString(p, request[i:i+1]); err != nil {
			break // it was refused already
		}
	}
	if status := p.status(); status != 400 {
		t.Errorf("status %d, want 400", status)
	}
}

// TestMetricsMayHaveAListenerOfTheirOwn, where there is nothing else.
func TestMetricsMayHaveAListenerOfTheirOwn(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.MetricsListen = "127.0.0.1:0" })
	if status, _, _ := f.call("GET", "/metrics", "", ""); status != 404 {
		t.Errorf("the API has metrics: %d", status)
	}
	for path, want := range map[string]int{"/metrics": 200, "/rules": 404, "/healthz": 404} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.app.MetricsAddress()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want || want == 200 && !strings.Contains(string(text), "herald_unauthorized_total") {
			t.Errorf("%s: %d %.100s", path, response.StatusCode, text)
		}
	}
	for _, port := range []string{f.app.Address(), f.app.MetricsAddress()} {
		if status, _, text := f.call("POST", "/rules", f.account.APIKey, fmt.Sprintf(`{"type":"sync-failed","notifiers":{"webhook":"http://%s/"}}`, port)); status != 400 {
			t.Errorf("a webhook to the service's own %s: %d %s", port, status, text)
		}
	}
}
