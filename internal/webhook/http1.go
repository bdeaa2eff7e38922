package webhook

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"herald/internal/egress"
)

// A request over HTTP/1.1 is made by the attempt itself: it writes the request, and then reads the
// response in the same goroutine. http.Transport has two goroutines for each connection, and to hand a
// request and its response over to them and back costs as much as the rest. It makes the requests over
// HTTP/2 and through the operator's proxy.

// maxJoined is the size up to which a request is written at once, in bytes. A longer body is not copied.
const maxJoined = 16 << 10

// maxWriteWait bounds how long a connection waits for the end of a request that has been answered. A
// receiver may answer before it has read all.
const maxWriteWait = 50 * time.Millisecond

var errLongHeader = errors.New("the headers of the response have more than " + strconv.Itoa(maxHeader) + " bytes")

// http1Conn is a connection of HTTP/1.1 that one attempt at a time uses.
type http1Conn struct {
	net.Conn // TLS over tcp, or tcp itself
	tcp      *conn
	receiver receiver
	idle     *idleConns // where it is kept alive
	since    time.Time  // when it became idle
	probe    probe
	reader   *bufio.Reader
	left     int // bytes that may still be read of the response's headers
}

func newHTTP1Conn(over net.Conn, tcp *conn, r receiver, idle *idleConns) *http1Conn {
	c := &http1Conn{Conn: over, tcp: tcp, receiver: r, idle: idle}
	c.probe.of(tcp.Conn)
	c.reader = bufio.NewReader(c)
	return c
}

// Read bounds the headers of a response.
func (c *http1Conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongHeader
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Close closes the connection at once. TLS says so to the receiver first, and would wait for one that takes
// no bytes; so that is done beside the attempt.
func (c *http1Conn) Close() error {
	if c.Conn == net.Conn(c.tcp) {
		return c.tcp.Close()
	}
	c.interrupt()
	go c.Conn.Close()
	return nil
}

// interrupt ends what waits for the connection. It is not used again then.
func (c *http1Conn) interrupt() { _ = c.SetDeadline(time.Unix(1, 0)) }

// readResponse reads the headers of the response, and those of 1xx responses before it. All have
// maxHeader bytes at most.
func (c *http1Conn) readResponse(at *clock) (*http.Response, error) {
	c.left = maxHeader
	if _, err := c.reader.Peek(1); err != nil {
		return nil, err
	}
	at.stamp(&at.firstByte)
	for {
		response, err := http.ReadResponse(c.reader, nil)
		switch {
		case err != nil && c.left <= 0:
			return nil, errLongHeader
		case err != nil:
			return nil, err
		case response.StatusCode >= 100 && response.StatusCode <= 199 && response.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		c.left = math.MaxInt // of the body
		return response, nil
	}
}

// exchange sends the request to one hop on a connection, and returns the response. The connection
// belongs to the response's body then, and otherwise it is closed.
func (a *attempt) exchange(ctx context.Context, c *http1Conn, target *url.URL) (*http.Response, error) {
	stop := context.AfterFunc(ctx, c.interrupt)
	w := writers.Get().(*bufio.Writer)
	w.Reset(c)
	a.writeHeader(w, target)
	var wrote chan error // of a request that is being written
	var err error
	if a.bodySize() <= maxJoined {
		err = a.writeBody(w)
	} else {
		// The receiver may answer and read no more. So a request that it may not have room for is written
		// while the response is waited for.
		wrote = make(chan error, 1)
		go func() {
			err := a.writeBody(w)
			wrote <- err
			if err != nil {
				c.Close()
			}
		}()
	}
	var response *http.Response
	if err == nil {
		response, err = c.readResponse(&a.clock)
	}
	if err == nil {
		body := &http1Body{from: response.Body, conn: c, stop: stop, wrote: wrote, closes: response.Close || response.StatusCode <= 199}
		body.ended.Store(response.ContentLength == 0)
		response.Body = body
		return response, nil
	}
	select {
	case failed := <-wrote:
		if failed != nil {
			err = failed // the cause of the error of the read
		}
	default:
	}
	stop()
	c.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

// writers have the buffers for requests. A connection does not keep one.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, maxJoined+4<<10) }}

// writtenFirst are the headers of a request that net/http writes before the sorted ones.
var writtenFirst = map[string]bool{"User-Agent": true}

// writeHeader begins a request with the bytes that net/http would write. The writer keeps its error.
func (a *attempt) writeHeader(w *bufio.Writer, target *url.URL) {
	w.WriteString("POST ")
	w.WriteString(egress.RequestURI(target))
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(target.Host)
	if a.sender.UserAgent != "" {
		w.WriteString("\r\nUser-Agent: ")
		w.WriteString(a.sender.UserAgent)
	}
	w.WriteString("\r\nContent-Length: ")
	w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(a.bodySize()), 10))
	w.WriteString("\r\n")
	_ = a.header.WriteSubset(w, writtenFirst)
	w.WriteString("\r\n")
}

// writeBody ends a request, and gives the writer back.
func (a *attempt) writeBody(w *bufio.Writer) error {
	w.Write(a.Body)
	if a.Data != nil {
		w.Write(a.Data)
		w.WriteByte('}')
	}
	err := w.Flush() // or the first error
	if err == nil {
		a.clock.stamp(&a.clock.wrote)
	}
	w.Reset(nil)
	writers.Put(w)
	return err
}

// http1Body is the body of a response, and has its connection until it is closed. Close may be called at
// any time, and more than once.
type http1Body struct {
	from   io.Reader // its own Close would read to the end, however long that is
	conn   *http1Conn
	stop   func() bool // ends the interruption by the context
	wrote  chan error  // nil if the request was written before the response was read
	closes bool        // the receiver does not keep the connection
	ended  atomic.Bool // all was read
	once   sync.Once
}

func (b *http1Body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// arrived reports whether a body of a known length has arrived, so that no Read waits.
func (b *http1Body) arrived(length int64) bool {
	return length > 0 && length <= int64(b.conn.reader.Buffered())
}

// Close keeps the connection alive if the response was read to its end, and closes it otherwise.
func (b *http1Body) Close() error {
	b.once.Do(func() {
		c := b.conn
		if b.stop() && b.ended.Load() && !b.closes && c.reader.Buffered() == 0 && !c.tcp.closed.Load() && b.written() {
			c.idle.put(c)
		} else {
			c.Close()
		}
	})
	return nil
}

// written reports whether the whole request was written.
func (b *http1Body) written() bool {
	if b.wrote == nil {
		return true
	}
	timer := time.NewTimer(maxWriteWait)
	defer timer.Stop()
	select {
	case err := <-b.wrote:
		return err == nil
	case <-timer.C:
		return false
	}
}
