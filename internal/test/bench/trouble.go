package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

// origins is how many receivers pending has. Each is a lane.
const origins = 100

// pending measures what a backlog costs. Its receivers do not answer, and each gets some
// deliveries. It measures the memory of the service. Then it kills the service and measures how
// long the next start takes with all deliveries in the database.
func pending(ctx context.Context, o options, out io.Writer) error {
	hang := make(chan struct{})
	receiver, err := receiveOnAll(func(http.ResponseWriter, *http.Request) { <-hang })
	if err != nil {
		return err
	}
	defer receiver.Close()
	defer close(hang)
	_, port, err := net.SplitHostPort(receiver.Listener.Addr().String())
	if err != nil {
		return err
	}
	var receivers []string
	for i := range origins {
		receivers = append(receivers, fmt.Sprintf("http://127.0.0.%d:%s/", i+1, port))
	}
	s, err := startService(ctx, o, receivers...)
	if err != nil {
		return err
	}
	defer s.stop() //nolint:errcheck // its nodes are killed
	heading(out, o)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tpending\tready after\tresident\tat most")
	n := s.nodes[0]
	row := func(what string, pending int, ready time.Duration) error {
		resident, peak, err := memory(n.process.Process.Pid)
		fmt.Fprintf(table, "%s\t%d\t%s\t%d MB\t%d MB\n", what, pending, ready.Round(time.Millisecond), resident>>10, peak>>10)
		return err
	}
	if err := row("started", 0, 0); err != nil {
		return err
	}
	l := s.load(o.pending/origins, 10, 4)
	if err := l.publish(ctx, &record{due: make([]time.Time, l.events)}); err != nil {
		return errors.Join(err, s.logs())
	}
	if err := row("published", o.pending, 0); err != nil {
		return err
	}
	_ = n.end(syscall.SIGKILL) // the error is that it was killed
	began := time.Now()
	if err := n.start(ctx, time.Minute); err != nil {
		return errors.Join(err, s.logs())
	}
	ready := time.Since(began)
	time.Sleep(10 * time.Second)
	if err := row("killed and started, 10 s later", o.pending, ready); err != nil {
		return err
	}
	_ = n.end(syscall.SIGKILL) // a stop would wait for the receivers that hang
	return table.Flush()
}

// receiveOnAll listens on all addresses of the loopback network.
func receiveOnAll(handler http.HandlerFunc) (*httptest.Server, error) {
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}} //nolint:gosec // it needs no timeout: it hangs on purpose
	server.Start()
	return server, nil
}

// memory returns the present and the highest resident memory of a process, in KiB.
func memory(pid int) (resident, peak int, err error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		number, _, _ := bytes.Cut(bytes.TrimSpace(value), []byte(" "))
		switch string(name) {
		case "VmRSS":
			resident, err = strconv.Atoi(string(number))
		case "VmHWM":
			peak, err = strconv.Atoi(string(number))
		}
	}
	return resident, peak, err
}

// backlogPause is how long beside waits after it has published the backlog, so that it does not
// measure the writing of the backlog.
const backlogPause = 20 * time.Second

// beside measures how a receiver that hangs, with a long backlog, changes the latency of another
// client's deliveries.
func beside(ctx context.Context, o options, out io.Writer) error {
	hang := make(chan struct{})
	hung, err := receiveOnAll(func(http.ResponseWriter, *http.Request) { <-hang })
	if err != nil {
		return err
	}
	defer hung.Close()
	defer close(hang)
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	s, err := startService(ctx, o, receiver.urls(1)...)
	if err != nil {
		return err
	}
	defer s.stop() //nolint:errcheck // its nodes are killed
	_, port, err := net.SplitHostPort(hung.Listener.Addr().String())
	if err != nil {
		return err
	}
	bad, err := s.tenant(ctx, "http://127.0.0.1:"+port)
	if err != nil {
		return err
	}
	heading(out, o)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tevents\tp50\tp95\tp99\tlost\tdoubled")
	row := func(name string) error {
		r, err := measure(ctx, receiver, s, run{load: s.pacedLoad(o.rate, o.latency, o.publishers), receivers: 1})
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%d\t%d\n", name, len(r.latencies), r.percentile(50), r.percentile(95), r.percentile(99), r.lost, r.doubled)
		return err
	}
	if err := row(fmt.Sprintf("%d events a second, alone", o.rate)); err != nil {
		return err
	}
	backlog := s.load(o.beside, 1000, 4)
	backlog.key = bad
	if err := backlog.publish(ctx, &record{due: make([]time.Time, backlog.events)}); err != nil {
		return errors.Join(err, s.logs())
	}
	time.Sleep(backlogPause)
	if err := row(fmt.Sprintf("beside %d to one that hangs", o.beside)); err != nil {
		return err
	}
	for _, n := range s.nodes {
		_ = n.end(syscall.SIGKILL) // a stop would wait for what hangs
	}
	return table.Flush()
}

// takeover measures how long the deliveries of a killed node wait. One of two nodes is killed while
// a receiver does not answer it.
func takeover(ctx context.Context, o options, out io.Writer) error {
	const events = 1000
	var killed, arrived atomic.Bool
	last := make(chan time.Time, 16*events)
	hang := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !killed.Load() {
			arrived.Store(true)
			<-hang
			panic(http.ErrAbortHandler)
		}
		last <- time.Now()
	}))
	defer receiver.Close()
	defer close(hang)
	o.nodes, o.postgres = 2, true
	s, err := startService(ctx, o, receiver.URL)
	if err != nil {
		return err
	}
	defer s.stop() //nolint:errcheck // one of its nodes is killed
	l := s.load(events, arraySize, 1)
	l.targets = l.targets[:1]
	if err := l.publish(ctx, &record{due: make([]time.Time, events)}); err != nil {
		return errors.Join(err, s.logs())
	}
	for !arrived.Load() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	_ = s.nodes[0].end(syscall.SIGKILL)
	killed.Store(true)
	var first, all time.Duration
	for i := range events {
		select {
		case at := <-last:
			if all = at.Sub(began); i == 0 {
				first = all
			}
		case <-time.After(time.Minute):
			return fmt.Errorf("%d of %d deliveries arrived within a minute of the kill", i, events)
		}
	}
	heading(out, o)
	fmt.Fprintf(out, "%d deliveries of a killed node: the first arrived %v after the kill, all after %v\n", events, first.Round(time.Millisecond), all.Round(time.Millisecond))
	return nil
}
