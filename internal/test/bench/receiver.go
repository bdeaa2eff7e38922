package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// receiver takes webhooks and records those of the present run.
type receiver struct {
	listener net.Listener
	end      func() error
	record   atomic.Pointer[record]
}

// newHTTPReceiver makes a receiver with the server of net/http, as a usual receiver has. It is one end
// of the raw loop.
func newHTTPReceiver() (*receiver, error) {
	r, err := listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(r.listener) //nolint:errcheck // ends with close
	r.end = server.Close
	return r, nil
}

// newReceiver makes a receiver that implements only as much HTTP/1.1 as Herald needs, because it
// shares the processors with what it measures. It listens on all addresses of the loopback network.
func newReceiver() (*receiver, error) {
	r, err := listen("0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	var connections sync.Map
	r.end = func() error {
		err := r.listener.Close()
		connections.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		return err
	}
	go func() {
		for {
			c, err := r.listener.Accept()
			if err != nil {
				return
			}
			connections.Store(c, nil)
			go func() {
				defer connections.Delete(c)
				defer c.Close()
				r.serve(c)
			}()
		}
	}()
	return r, nil
}

func listen(address string) (*receiver, error) {
	listener, err := net.Listen("tcp", address)
	return &receiver{listener: listener}, err
}

func (r *receiver) close() { _ = r.end() }

// address returns host:port at address number n of the loopback network.
func (r *receiver) address(n int) string {
	_, port, _ := net.SplitHostPort(r.listener.Addr().String())
	return fmt.Sprintf("127.0.0.%d:%s", n+1, port)
}

// urls returns the addresses of n receivers. Each is a host of its own, and its path is its number.
func (r *receiver) urls(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("http://%s/%d", r.address(i), i))
	}
	return all
}

// serve answers the requests of a connection until one is not as Herald sends it.
func (r *receiver) serve(c net.Conn) {
	const ok, bad = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	in := bufio.NewReaderSize(c, 16<<10)
	var body []byte
	for {
		path, length, err := readHead(in)
		if err != nil {
			return
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		answer := ok
		if r.take(path, body) != nil {
			answer = bad
		}
		if _, err := io.WriteString(c, answer); err != nil || answer == bad {
			return
		}
	}
}

// readHead reads a request up to its body, and returns the path and the length of the body.
func readHead(in *bufio.Reader) (path string, length int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", 0, err
	}
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	path, length = string(target), -1
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return "", 0, err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(": ")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", 0, err
			}
		}
	}
	if length < 0 {
		return "", 0, errors.New("the request has no Content-Length")
	}
	return path, length, nil
}

// ServeHTTP does with net/http what serve does.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, r.take(req.URL.Path, body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// take records the event of a webhook by the number in its data, and the receiver by the path.
func (r *receiver) take(path string, body []byte) error {
	_, data, found := bytes.Cut(body, []byte(`"Data":{"n":`))
	digits, _, closed := bytes.Cut(data, []byte(`}`))
	event, err := strconv.Atoi(string(digits))
	number, pathErr := strconv.Atoi(path[1:])
	if !found || !closed || err != nil || pathErr != nil {
		return errors.New("not an event of the benchmark")
	}
	r.record.Load().arrived(event, number)
	return nil
}

// begin starts a record of so many events, each for so many receivers.
func (r *receiver) begin(events, receivers int) *record {
	n := events * receivers
	b := &record{receivers: receivers, due: make([]time.Time, events), took: make([]atomic.Int64, n), count: make([]atomic.Int32, n)}
	r.record.Store(b)
	return b
}

// record has, for each event of a run, when it was to be sent; and for each of its receivers, how long
// the webhook took, and how often it arrived.
type record struct {
	receivers int
	due       []time.Time // written before the event is sent
	took      []atomic.Int64
	count     []atomic.Int32
	all       atomic.Int64 // how many deliveries have arrived
	last      atomic.Int64 // when the latest arrived, in ns since the epoch
}

func (b *record) sent(first, n int, due time.Time) {
	for i := first; i < first+n; i++ {
		b.due[i] = due
	}
}

func (b *record) arrived(event, receiver int) {
	if event < 0 || event >= len(b.due) || receiver < 0 || receiver >= b.receivers {
		return
	}
	n := event*b.receivers + receiver
	if b.count[n].Add(1) > 1 {
		return
	}
	now := time.Now()
	b.took[n].Store(int64(now.Sub(b.due[event])))
	b.last.Store(now.UnixNano())
	b.all.Add(1)
}

// wait waits until everything has arrived, or until nothing has for timeout. It returns when the last
// one arrived. It waits half a second longer, because second deliveries come late.
func (b *record) wait(ctx context.Context, timeout time.Duration) time.Time {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	begun := time.Now()
	for int(b.all.Load()) < len(b.count) && ctx.Err() == nil {
		<-ticker.C
		if latest := time.Unix(0, b.last.Load()); time.Since(latest) > timeout && time.Since(begun) > timeout {
			break
		}
	}
	last := time.Unix(0, b.last.Load())
	time.Sleep(500 * time.Millisecond)
	return last
}

func (b *record) close() (latencies []time.Duration, lost, doubled int) {
	for i := range b.count {
		switch n := b.count[i].Load(); {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
		if b.count[i].Load() > 0 {
			latencies = append(latencies, time.Duration(b.took[i].Load()))
		}
	}
	return latencies, lost, doubled
}
