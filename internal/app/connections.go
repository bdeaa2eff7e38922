package app

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of the connections to the API. Each takes a descriptor and some memory. The others of
// the process's descriptors are for the database, for attempts and for files: slow connections
// from outside once used up all of them, and no delivery was sent.
const (
	// reservedDescriptors are the attempts in flight, 1,024 with as many connections kept for the
	// next ones, and 256 for the database, files and the mail server.
	reservedDescriptors = 2*1024 + 256
	// mostConnections bounds the memory: about 20 KiB each.
	mostConnections = 16_384
	// addressShare is which part of the connections one address may have. Where there are few, it is
	// up to a half, and at most fewConnections: a balancer is one address.
	addressShare   = 4
	fewConnections = 1024
	// unusedAfter is how old a connection without a request must be to be closed for another.
	unusedAfter = time.Second
)

// defaultDescriptors is assumed where the limit is not known.
const defaultDescriptors = 1024

// connectionLimit returns how many connections the API accepts with so many descriptors.
func connectionLimit(descriptors uint64) int {
	if descriptors < 2*reservedDescriptors {
		return max(int(descriptors/2), 1)
	}
	return int(min(descriptors-reservedDescriptors, mostConnections))
}

// streamShare is which part of the connections the streams of the portal's open pages may have.
const streamShare = 4

// mostConnections returns how many connections the API accepts.
func (a *App) mostConnections() int {
	if a.config.MaxConnections > 0 {
		return a.config.MaxConnections
	}
	return connectionLimit(raiseDescriptors())
}

// connections is a listener that bounds the connections it has accepted: all of them, and those
// of one address. When all places are taken, a new connection takes the place of the one that has
// been idle for the longest, then of one that has sent nothing yet. Otherwise it is closed.
type connections struct {
	net.Listener
	most, each int
	trusted    []netip.Prefix // proxies: their address stands for many callers

	mu     sync.Mutex
	n      int
	by     map[netip.Prefix]int
	idle   list.List // of *connection, the longest idle first
	unused list.List // of *connection, the oldest first

	closed *prometheus.CounterVec
}

func newConnections(l net.Listener, most int, trusted []netip.Prefix, r prometheus.Registerer) *connections {
	c := &connections{Listener: l, most: most, each: max(most/addressShare, min(most/2, fewConnections), 1), trusted: trusted, by: make(map[netip.Prefix]int),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_http_connections_closed_total", Help: "Connections to the API that were closed because there were too many, by reason.",
		}, []string{"reason"})}
	for _, reason := range []string{"address", "idle", "limit", "unused"} {
		c.closed.WithLabelValues(reason) // so that each is there from the start
	}
	r.MustRegister(c.closed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "herald_http_connections", Help: "Open connections to the API."}, func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return float64(c.n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "herald_http_connections_idle", Help: "Open connections to the API that wait for their next request."}, func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return float64(c.idle.Len())
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "herald_http_connections_limit", Help: "The most open connections to the API."}, func() float64 { return float64(most) }))
	return c
}

// Accept returns the next connection that has a place.
func (c *connections) Accept() (net.Conn, error) {
	for {
		accepted, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn := c.admit(accepted); conn != nil {
			return conn, nil
		}
		_ = accepted.Close() // nothing was sent on it
	}
}

// admit gives a connection a place, or returns nil.
func (c *connections) admit(accepted net.Conn) net.Conn {
	conn := &connection{Conn: accepted, limit: c, from: networkOf(accepted.RemoteAddr()), at: time.Now()}
	c.mu.Lock()
	var evicted *connection
	switch {
	case c.by[conn.from] >= c.each && !c.isTrusted(conn.from.Addr()):
		c.mu.Unlock()
		c.closed.WithLabelValues("address").Inc()
		return nil
	case c.n >= c.most:
		var reason string
		if evicted, reason = c.evict(conn.at); evicted == nil {
			reason = "limit"
		}
		c.closed.WithLabelValues(reason).Inc()
		if evicted == nil {
			c.mu.Unlock()
			return nil
		}
		c.remove(evicted)
	}
	c.n++
	c.by[conn.from]++
	conn.place, conn.in = c.unused.PushBack(conn), &c.unused
	c.mu.Unlock()
	if evicted != nil {
		_ = evicted.Conn.Close() // its own Close, later, finds it gone
	}
	return conn
}

// evict returns the connection that goes first, or nil.
func (c *connections) evict(now time.Time) (_ *connection, reason string) {
	if oldest := c.idle.Front(); oldest != nil {
		return oldest.Value.(*connection), "idle"
	}
	if oldest := c.unused.Front(); oldest != nil && now.Sub(oldest.Value.(*connection).at) >= unusedAfter {
		return oldest.Value.(*connection), "unused"
	}
	return nil, ""
}

// remove gives a connection's place back, once.
func (c *connections) remove(conn *connection) {
	if conn.gone {
		return
	}
	conn.gone = true
	conn.leave()
	c.n--
	if c.by[conn.from]--; c.by[conn.from] == 0 {
		delete(c.by, conn.from)
	}
}

func (c *connections) isTrusted(from netip.Addr) bool {
	return slices.ContainsFunc(c.trusted, func(p netip.Prefix) bool { return p.Contains(from) })
}

// follow is for http.Server.ConnState.
func (c *connections) follow(served net.Conn, state http.ConnState) {
	if over, ok := served.(*tls.Conn); ok {
		served = over.NetConn()
	}
	conn, ok := served.(*connection)
	if !ok || state != http.StateActive && state != http.StateIdle {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.leave(); state == http.StateIdle && !conn.gone {
		conn.place, conn.in = c.idle.PushBack(conn), &c.idle
		conn.between.Store(true)
	}
}

// networkOf returns what counts as one address: an IPv4 address, or the part of an IPv6 address
// that one network has for itself.
func networkOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // the zero Addr has the zero Prefix
	return network
}

// connection is an accepted connection. On plain HTTP/1 it also watches for Content-Length, which
// net/http removes from a request that has a Transfer-Encoding as well. Two servers that differ
// on which of them counts see different requests (RFC 9112, section 6.3).
type connection struct {
	net.Conn
	limit *connections
	from  netip.Prefix
	at    time.Time

	// Under limit.mu.
	gone  bool
	place *list.Element
	in    *list.List // that has place; nil while a request is served

	between   atomic.Bool // the next byte begins a request
	hasLength atomic.Bool // the bytes of the present request, or one before in a row, name a length
	matched   int         // characters of lengthField at the start of the present line
	skips     bool        // the rest of the present line
}

// leave takes a connection out of its list.
func (c *connection) leave() {
	if c.in != nil {
		c.in.Remove(c.place)
		c.in, c.place = nil, nil
	}
}

// Close closes the connection and gives its place back.
func (c *connection) Close() error {
	c.limit.mu.Lock()
	c.limit.remove(c)
	c.limit.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends what the service sends. net/http calls it before it closes a connection whose
// request it has not read to the end; without it the caller would lose the answer.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Read reads, and watches.
func (c *connection) Read(p []byte) (int, error) {
	if c.between.Swap(false) {
		c.hasLength.Store(false)
		c.matched, c.skips = 0, false
	}
	n, err := c.Conn.Read(p)
	c.watch(p[:n])
	return n, err
}

const lengthField = "content-length:"

func (c *connection) watch(b []byte) {
	for len(b) > 0 {
		if c.skips {
			end := bytes.IndexByte(b, '\n')
			if end < 0 {
				return
			}
			b = b[end+1:]
			c.matched, c.skips = 0, false
			continue
		}
		char := b[0]
		b = b[1:]
		if 'A' <= char && char <= 'Z' {
			char += 'a' - 'A'
		}
		switch {
		case char == '\n':
			c.matched = 0
		case char != lengthField[c.matched]:
			c.skips = true
		default:
			if c.matched++; c.matched == len(lengthField) {
				c.hasLength.Store(true)
				c.skips = true
			}
		}
	}
}
