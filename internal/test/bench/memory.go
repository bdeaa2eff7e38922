package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// memoryGraph is the file that overTime writes to the working directory.
const memoryGraph = "memory.svg"

// samples is how often overTime reads the memory, and parts is how many rows its table has.
const samples, parts = 360, 6

// overTime measures whether the memory of the service grows while events are published at a steady rate. It prints a row for
// each part of the time, and draws a graph.
func overTime(ctx context.Context, o options, out io.Writer) error {
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	s, err := startService(ctx, o, receiver.urls(1)...)
	if err != nil {
		return err
	}
	defer s.stop() //nolint:errcheck // what it has printed is what was measured
	sampled, stop := context.WithCancel(ctx)
	defer stop()
	read := make(chan []int)
	go func() { read <- residentOverTime(sampled, s.nodes[0].process.Process.Pid, o.memory/samples) }()
	r, err := measure(ctx, receiver, s, run{load: s.pacedLoad(o.rate, o.memory, o.publishers), receivers: 1})
	stop()
	kilobytes := <-read
	if err != nil {
		return errors.Join(err, s.logs())
	}
	heading(out, o)
	fmt.Fprintf(out, "%d events, %.0f/s, %v of the service for each, p50 %v, p99 %v, lost %d, doubled %d\n\n", r.deliveries, r.rate,
		r.each(r.used.service).Round(time.Microsecond), r.percentile(50), r.percentile(99), r.lost, r.doubled)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "until\tleast\tmedian\tat most")
	size := max(1, len(kilobytes)/parts)
	for i := size; i <= len(kilobytes); i += size {
		part := slices.Sorted(slices.Values(kilobytes[i-size : i]))
		fmt.Fprintf(table, "%v\t%d MB\t%d MB\t%d MB\n", (time.Duration(i) * o.memory / samples).Round(time.Second), part[0]>>10, part[len(part)/2]>>10, part[len(part)-1]>>10)
	}
	return errors.Join(table.Flush(), os.WriteFile(memoryGraph, []byte(graph(kilobytes, o.memory/samples)), 0o644))
}

// residentOverTime reads the resident memory of a process, in KiB, at each interval until the context ends.
func residentOverTime(ctx context.Context, pid int, interval time.Duration) (kilobytes []int) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return kilobytes
		case <-ticker.C:
		}
		resident, _, err := memory(pid)
		if err != nil {
			return kilobytes
		}
		kilobytes = append(kilobytes, resident)
	}
}

// graph draws resident memory over time as SVG. It has a white ground, so it can be read on dark pages too.
func graph(kilobytes []int, interval time.Duration) string {
	const left, top, width, height = 60, 20, 640, 200
	top10 := 10
	for _, k := range kilobytes {
		top10 = max(top10, (k>>10/10+1)*10)
	}
	var line strings.Builder
	for i, k := range kilobytes {
		fmt.Fprintf(&line, "%.1f,%.1f ", left+float64(i)*width/float64(max(1, len(kilobytes)-1)), top+height-float64(k)/1024*height/float64(top10))
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`+"\n", left+width+30, top+height+40)
	fmt.Fprintf(&svg, `<title>Resident memory of the service</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	const lines = 4
	for i := range lines + 1 {
		y, x := top+height-i*height/lines, left+i*width/lines
		fmt.Fprintf(&svg, `<path d="M%d %dh%d" stroke="#ddd"/><text x="%d" y="%d" text-anchor="end">%g MB</text>`, left, y, width, left-6, y+4, float64(top10*i)/lines)
		at := time.Duration(len(kilobytes)*i/lines) * interval
		fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", x, top+height+20, at.Round(time.Second))
	}
	fmt.Fprintf(&svg, `<polyline points="%s" fill="none" stroke="#2a6f97" stroke-width="1.5"/>`+"\n</svg>\n", strings.TrimSpace(line.String()))
	return svg.String()
}
