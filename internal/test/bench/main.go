// Command bench measures Herald end to end on one machine. A load generator and a receiver run in
// this process, and herald serve runs as a process of its own with an empty data directory. It
// prints one table. It fails if an event was lost or delivered twice.
//
// All rates belong to one run on one machine. Compare them with the raw limit: the same load
// generator posts straight to the same receiver.
package main

import (
	"context"
	"errors"
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
	flag.DurationVar(&o.roundTrip, "round-trip", 0, "with -postgres, by how much longer a round trip to the server takes")
	flag.BoolVar(&o.takeover, "takeover", false, "measure how long the deliveries of a killed node wait, with -postgres, instead")
	flag.IntVar(&o.pages, "pages", 0, "measure what so many open pages of the portal cost, at rest and beside -rate events a second, instead")
	flag.DurationVar(&o.memory, "memory", 0, "measure the memory beside -rate events a second for so long, and draw it to "+memoryGraph+" in this directory, instead")
	flag.BoolVar(&o.profile, "profile", false, "write profiles of the processor time and the allocations of each run to this directory")
	flag.BoolVar(&o.counters, "counters", false, "with -postgres, also print what the server counts for each delivery, such as bytes of its log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	what := rates
	switch {
	case o.pending > 0:
		what = pending
	case o.beside > 0:
		what = beside
	case o.pages > 0:
		what = besidePages
	case o.memory > 0:
		what = overTime
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
	latency, roundTrip       time.Duration
	memory                   time.Duration
	binary                   string
	postgres                 bool
	nodes, pending, beside   int
	pages                    int
	takeover, profile        bool
	counters                 bool
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

// fanOut is the number of receivers of an event in the fan-out run.
const fanOut = 10

// run is one row of the table.
type run struct {
	name      string
	load      load
	receivers int // of each event
}

// rates measures throughput, latency and processor time.
func rates(ctx context.Context, o options, out io.Writer) error {
	raw, err := newHTTPReceiver()
	if err != nil {
		return err
	}
	defer raw.close()
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	service, err := startService(ctx, o, receiver.urls(1)...)
	if err != nil {
		return err
	}
	defer service.stop()
	wide := service.load(o.events/fanOut, 1, o.publishers)
	if wide.key, err = service.tenant(ctx, receiver.urls(fanOut)...); err != nil {
		return err
	}

	heading(out, o)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "run\tdeliveries\t/s\tservice\tdatabase\traw loops\tload\tp50\tp95\tp99\tlost\tdoubled")
	loop, err := rawLoop(ctx, raw, o, table)
	if err != nil {
		return err
	}
	counted, err := newCounting(ctx, service, o)
	if err != nil {
		return err
	}
	for _, r := range []run{
		// The first: the index of companies and types is written behind the alerts, so it would pay for those of other runs.
		{fmt.Sprintf("%d events a second", o.rate), service.pacedLoad(o.rate, o.latency, o.publishers), 1},
		{"one event a request", service.load(o.events, 1, o.publishers), 1},
		{fmt.Sprintf("arrays of %d", arraySize), service.load(o.events, arraySize, o.publishers), 1},
		{fmt.Sprintf("one event, %d receivers", fanOut), wide, fanOut},
	} {
		finish := func() error { return nil }
		if o.profile {
			finish = service.profile(ctx, ".", r.name)
		}
		result, err := measure(ctx, receiver, service, r)
		if err = errors.Join(err, finish()); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		result.row(table, r.name, loop)
		if result.lost+result.doubled > 0 {
			return fmt.Errorf("%s: %d deliveries lost, %d doubled", r.name, result.lost, result.doubled)
		}
		if err := counted.add(ctx, r.name, result.deliveries); err != nil {
			return err
		}
	}
	return errors.Join(table.Flush(), counted.print(out))
}

// rawLoop measures the yardstick: the publisher posts straight to a receiver with net/http's server. It
// returns the processor time that both ends use for one request.
func rawLoop(ctx context.Context, receiver *receiver, o options, table io.Writer) (time.Duration, error) {
	r := run{"raw: POST straight to the receiver", load{targets: []string{receiver.address(0)}, path: "/0", events: o.events, perRequest: 1, publishers: o.publishers, body: rawBody}, 1}
	result, err := measure(ctx, receiver, nil, r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.name, err)
	}
	loop := result.each(result.used.load)
	result.row(table, r.name, loop)
	return loop, nil
}

// result is the result of one run. A latency is the time from when an event was to be published to
// the arrival of its webhook.
type result struct {
	deliveries    int
	rate          float64 // deliveries a second
	used          cost
	latencies     []time.Duration // sorted
	lost, doubled int
}

func (r result) percentile(p int) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, len(r.latencies)*p/100)].Round(10 * time.Microsecond)
}

// each is the processor time of one delivery.
func (r result) each(used time.Duration) time.Duration { return used / time.Duration(r.deliveries) }

// row prints the result. The times of the service, the database and the load are of one delivery.
func (r result) row(table io.Writer, name string, loop time.Duration) {
	micro := func(used time.Duration) string { return r.each(used).Round(time.Microsecond).String() }
	fmt.Fprintf(table, "%s\t%d\t%.0f\t%s\t%s\t%.1f\t%s\t%s\t%s\t%s\t%d\t%d\n", name, r.deliveries, r.rate,
		micro(r.used.service), micro(r.used.database), float64(r.each(r.used.service+r.used.database))/float64(loop), micro(r.used.load),
		r.percentile(50), r.percentile(95), r.percentile(99), r.lost, r.doubled)
}

// measure makes a run and waits until everything has arrived. service is nil for the raw loop.
func measure(ctx context.Context, receiver *receiver, service *service, one run) (result, error) {
	arrivals := receiver.begin(one.load.events, one.receivers)
	before, err := service.cost()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	if err := one.load.publish(ctx, arrivals); err != nil {
		return result{}, err
	}
	last := arrivals.wait(ctx, 30*time.Second)
	after, err := service.cost()
	r := result{deliveries: one.load.events * one.receivers, used: after.since(before)}
	r.rate = float64(r.deliveries) / last.Sub(start).Seconds()
	r.latencies, r.lost, r.doubled = arrivals.close()
	slices.Sort(r.latencies)
	return r, errors.Join(err, ctx.Err())
}
