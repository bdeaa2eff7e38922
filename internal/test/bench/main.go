// Command bench measures Herald end to end on one machine. A load generator and a receiver run in
// this process, and herald serve runs as a process of its own with an empty data directory. It
// prints one table. It fails if an event was lost or delivered twice.
//
// All rates belong to one run on one machine. Compare them with the raw limit: the same load
// generator posts straight to the same receiver.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.events, "events", 60000, "events of each throughput run")
	flag.IntVar(&o.publishers, "publishers", 64, "connections that publish at the same time")
	flag.DurationVar(&o.latency, "latency", 20*time.Second, "length of the latency run")
	flag.IntVar(&o.rate, "rate", 300, "events a second of the latency run")
	flag.StringVar(&o.binary, "herald", "", "the herald binary; empty builds it")
	flag.BoolVar(&o.postgres, "postgres", false, "run on a temporary PostgreSQL server instead of SQLite")
	flag.IntVar(&o.nodes, "nodes", 1, "nodes that share the load, with -postgres")
	flag.IntVar(&o.pending, "pending", 0, "measure memory and start with so many deliveries pending, instead")
	flag.IntVar(&o.beside, "beside", 0, "measure latency beside so many deliveries to a receiver that hangs, instead")
	flag.BoolVar(&o.takeover, "takeover", false, "measure how long the deliveries of a killed node wait, with -postgres, instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	what := rates
	switch {
	case o.pending > 0:
		what = pending
	case o.beside > 0:
		what = beside
	case o.takeover:
		what = takeover
	}
	if err := what(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	events, publishers, rate int
	latency                  time.Duration
	binary                   string
	postgres                 bool
	nodes, pending, beside   int
	takeover                 bool
}

// arraySize is the number of events in one request of the array run.
const arraySize = 100

// heading prints the date, the machine, the database and the number of nodes.
func heading(out io.Writer, o options) {
	database := "SQLite"
	if o.postgres {
		database = "PostgreSQL"
	}
	fmt.Fprintf(out, "%s, %d cores, %s, %s, nodes: %d\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), database, o.nodes)
}

// rates measures throughput and latency.
func rates(ctx context.Context, o options, out io.Writer) error {
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	service, err := startService(ctx, o, receiver.url())
	if err != nil {
		return err
	}
	defer service.stop()

	heading(out, o)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "run\tevents\tevents/s\tof raw\tp50\tp95\tp99\tlost\tdoubled")

	var raw float64
	for _, r := range []struct {
		name string
		load load
	}{
		{"raw: POST straight to the receiver", load{targets: []string{receiver.address()}, path: "/", events: o.events, perRequest: 1, publishers: o.publishers, body: rawBody}},
		{"one event a request", service.load(o.events, 1, o.publishers)},
		{fmt.Sprintf("arrays of %d", arraySize), service.load(o.events, arraySize, o.publishers)},
		{fmt.Sprintf("%d events a second", o.rate), service.pacedLoad(o.rate, o.latency, o.publishers)},
	} {
		result, err := measure(ctx, receiver, r.load)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if raw == 0 {
			raw = result.rate
		}
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.2f\t%s\t%s\t%s\t%d\t%d\n", r.name, r.load.events, result.rate, result.rate/raw,
			result.percentile(50), result.percentile(95), result.percentile(99), result.lost, result.doubled)
		if result.lost+result.doubled > 0 {
			err = fmt.Errorf("%s: %d events lost, %d doubled", r.name, result.lost, result.doubled)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// result is the result of one run. A latency is the time from when an event was to be published to
// the arrival of its webhook.
type result struct {
	rate          float64
	latencies     []time.Duration // sorted
	lost, doubled int
}

func (r result) percentile(p int) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, len(r.latencies)*p/100)].Round(10 * time.Microsecond)
}

// measure publishes a load and waits until everything has arrived.
func measure(ctx context.Context, receiver *receiver, l load) (result, error) {
	arrivals := receiver.begin(l.events)
	start := time.Now()
	if err := l.publish(ctx, arrivals); err != nil {
		return result{}, err
	}
	last := arrivals.wait(ctx, 30*time.Second)
	r := result{rate: float64(l.events) / last.Sub(start).Seconds()}
	r.latencies, r.lost, r.doubled = arrivals.close()
	slices.Sort(r.latencies)
	return r, ctx.Err()
}
