package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// When an open page gets its stream, and how often it asks whether something is new: as internal/portal/assets/live.js
// has it.
const (
	beforeStream = 500 * time.Millisecond
	firstPoll    = time.Second
	soonestPoll  = 5 * time.Second
	latestPoll   = 120 * time.Second
	shownRows    = 50
)

// quiet is how long the cost is measured while nothing happens, from the opening of the pages on. They ask ever more
// rarely, so this is the most expensive minute.
const quiet = time.Minute

// besidePages measures what open pages of the portal cost while nothing happens, and how they change publishing.
func besidePages(ctx context.Context, o options, out io.Writer) error {
	receiver, err := newReceiver()
	if err != nil {
		return err
	}
	defer receiver.close()
	s, err := startService(ctx, o, receiver.urls(1)...)
	if err != nil {
		return err
	}
	defer s.stop() //nolint:errcheck // what is measured is printed by then
	heading(out, o)
	if _, err := measure(ctx, receiver, s, run{load: s.load(4*shownRows, 1, 1), receivers: 1}); err != nil {
		return err
	}
	for _, n := range []int{0, o.pages} {
		if err := rest(ctx, s, n, out); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "pages\tdeliveries\t/s\tservice\tp50\tp95\tp99\tstreams\tmarks\tasked\tfailed\tlost\tdoubled")
	for _, n := range []int{0, o.pages, 0, o.pages, 0, o.pages} {
		open, err := openPages(ctx, s, n)
		if err != nil {
			return err
		}
		r, err := measure(ctx, receiver, s, run{load: s.pacedLoad(o.rate, o.latency, o.publishers), receivers: 1})
		open.close()
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%d\t%d\t%.0f\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", n, r.deliveries, r.rate, r.each(r.used.service).Round(time.Microsecond),
			r.percentile(50), r.percentile(95), r.percentile(99), open.streams.Load(), open.marks.Load(), open.asked.Load(), open.failed.Load(), r.lost, r.doubled)
	}
	return table.Flush()
}

// rest measures the processor time of the service beside n open pages, while nothing is published.
func rest(ctx context.Context, s *service, n int, out io.Writer) error {
	open, err := openPages(ctx, s, n)
	if err != nil {
		return err
	}
	defer open.close()
	before, err := s.cost()
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
	}
	after, err := s.cost()
	used := after.since(before)
	fmt.Fprintf(out, "%d open pages, nothing happens: %.2f %% of a core over %v; they had %d streams with %d marks, and asked %d times, %d in vain\n", n,
		100*(used.service+used.database).Seconds()/time.Since(began).Seconds(), quiet, open.streams.Load(), open.marks.Load(), open.asked.Load(), open.failed.Load())
	return errors.Join(err, ctx.Err())
}

// pages are open pages of the portal, each with its own session and connection.
type pages struct {
	stop                          context.CancelFunc
	all                           sync.WaitGroup
	streams, marks, asked, failed atomic.Int64
}

func (p *pages) close() {
	p.stop()
	p.all.Wait()
}

// openPages opens n lists, of deliveries and of events by turns, which then ask whether something is new.
func openPages(ctx context.Context, s *service, n int) (*pages, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &pages{stop: stop}
	for i := range n {
		one, err := s.openPage(ctx, []string{"/deliveries", "/events"}[i%2])
		if err != nil {
			p.close()
			return nil, err
		}
		p.all.Go(func() { p.refresh(ctx, one) })
	}
	return p, nil
}

// openPage is one open page.
type openPage struct {
	http    *http.Client
	address string
	stream  string // its address
	shown   map[string]bool
	said    int // rows that were announced as new

	wait   time.Duration // between two times that it asks, at least
	asked  time.Time
	marked int           // since it asked: 1 by the beginning of the stream, 2 by a change
	rest   time.Duration // how long it asks nothing by itself; 0 without a stream
}

// openPage signs in and opens a list.
func (s *service) openPage(ctx context.Context, list string) (*openPage, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	p := &openPage{http: &http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: 30 * time.Second}, shown: make(map[string]bool)}
	form := strings.NewReader(url.Values{"key": {s.key}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.nodes[0].address+"/portal/sign-in", form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := p.http.Do(request) // it leads to the overview
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	client := strings.TrimSuffix(response.Request.URL.String(), "/")
	p.address, p.stream = client+list, client+"/live"
	rows, err := p.rows(ctx)
	for _, row := range rows {
		p.shown[row] = true
	}
	if err == nil && len(rows) != shownRows {
		err = fmt.Errorf("%s has %d rows, not %d", p.address, len(rows), shownRows)
	}
	return p, err
}

var rowLink = regexp.MustCompile(`<a class="whole" href="([^"]+)"`)

// rows asks for the page, and returns the addresses of its rows.
func (p *openPage) rows(ctx context.Context) (rows []string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Herald-Refresh", "1")
	response, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", p.address, response.Status)
	}
	for _, found := range rowLink.FindAllSubmatch(text, -1) {
		rows = append(rows, string(found[1]))
	}
	return rows, err
}

// refresh keeps a page up to date until ctx ends.
func (p *pages) refresh(ctx context.Context, one *openPage) {
	defer one.http.CloseIdleConnections()
	marks := make(chan time.Duration)
	p.all.Go(func() { p.follow(ctx, one, marks) })
	one.wait, one.asked = soonestPoll, time.Now()
	for {
		pause := one.wait
		if one.marked == 0 {
			pause = max(pause, one.rest)
		}
		select {
		case <-ctx.Done():
			return
		case rest := <-marks:
			p.marks.Add(1)
			switch {
			case one.rest == 0:
				one.marked = max(one.marked, 1)
			case one.marked == 1 || one.marked == 0 && time.Since(one.asked) > one.wait:
				one.wait = firstPoll
				fallthrough
			default:
				one.marked = 2
			}
			one.rest = rest
		case <-time.After(time.Until(one.asked.Add(pause))):
			p.ask(ctx, one)
		}
	}
}

// follow reads the stream of a page, and hands on what each mark says.
func (p *pages) follow(ctx context.Context, one *openPage, marks chan<- time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(beforeStream):
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, one.stream, nil)
	if err != nil {
		return
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := (&http.Client{Jar: one.http.Jar, Transport: one.http.Transport}).Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return // the page asks by itself
	}
	p.streams.Add(1)
	event := ""
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if name == "event" {
			event = value
		}
		if name == "data" && event == "" {
			rest, err := strconv.Atoi(value)
			if err != nil {
				return
			}
			select {
			case marks <- time.Duration(rest) * time.Millisecond:
			case <-ctx.Done():
			}
		}
		if name == "" {
			event = ""
		}
	}
}

// ask asks for a page: again soon after something was new, and ever more rarely.
func (p *pages) ask(ctx context.Context, one *openPage) {
	one.marked = 0
	rows, err := one.rows(ctx)
	if ctx.Err() != nil {
		return
	}
	if p.asked.Add(1); err != nil {
		p.failed.Add(1)
		one.marked = 2
	}
	fresh := 0
	for _, row := range rows {
		if !one.shown[row] {
			fresh++
		}
	}
	one.asked = time.Now()
	switch one.wait = min(one.wait*3/2, latestPoll); {
	case err != nil:
	case fresh == shownRows: // nothing else can be announced
		one.wait = latestPoll
	case fresh != one.said:
		one.said, one.wait = fresh, soonestPoll
	}
}
