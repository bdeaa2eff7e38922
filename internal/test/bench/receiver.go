package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// receiver takes webhooks and records those of the present run.
type receiver struct {
	listener net.Listener
	server   *http.Server
	record   atomic.Pointer[record]
}

func newReceiver() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{listener: listener}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go r.server.Serve(listener) //nolint:errcheck // ends with close
	return r, nil
}

func (r *receiver) address() string { return r.listener.Addr().String() }
func (r *receiver) url() string     { return "http://" + r.address() + "/" }
func (r *receiver) close()          { r.server.Close() }

// ServeHTTP records the event of a webhook by the number in its data.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	_, data, found := bytes.Cut(body, []byte(`"Data":{"n":`))
	digits, _, closed := bytes.Cut(data, []byte(`}`))
	n, parseErr := strconv.Atoi(string(digits))
	if err != nil || !found || !closed || parseErr != nil {
		http.Error(w, "not an event of the benchmark", http.StatusBadRequest)
		return
	}
	r.record.Load().arrived(n)
	w.WriteHeader(http.StatusOK)
}

func (r *receiver) begin(events int) *record {
	b := &record{due: make([]time.Time, events), took: make([]atomic.Int64, events), count: make([]atomic.Int32, events)}
	r.record.Store(b)
	return b
}

// record has, for each event of a run, when it was to be sent, how long its webhook took, and how
// often it arrived.
type record struct {
	due   []time.Time // written before the event is sent
	took  []atomic.Int64
	count []atomic.Int32
	all   atomic.Int64 // how many events have arrived
	last  atomic.Int64 // when the latest event arrived, in ns since the epoch
}

func (b *record) sent(first, n int, due time.Time) {
	for i := first; i < first+n; i++ {
		b.due[i] = due
	}
}

func (b *record) arrived(n int) {
	if n < 0 || n >= len(b.count) || b.count[n].Add(1) > 1 {
		return
	}
	now := time.Now()
	b.took[n].Store(int64(now.Sub(b.due[n])))
	b.last.Store(now.UnixNano())
	b.all.Add(1)
}

// wait waits until every event has arrived, or until none has arrived for timeout. It returns when
// the last one arrived. It waits half a second longer, because second deliveries come late.
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
