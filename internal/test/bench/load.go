package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load is a number of events to publish over some connections.
type load struct {
	targets    []string // host:port; the publishers are spread over them
	path       string
	key        string
	events     int
	perRequest int
	publishers int
	// interval is the time between two requests; 0 means as fast as possible.
	interval time.Duration
	// body appends the body of a request with n events, beginning with number first.
	body func(into []byte, first, n int) []byte
}

// publish sends all requests and returns when all are acknowledged. It records when each event was
// to be sent.
func (l load) publish(ctx context.Context, b *record) error {
	var next atomic.Int64
	start := time.Now()
	errs := make(chan error, l.publishers)
	var wg sync.WaitGroup
	for i := range l.publishers {
		wg.Go(func() {
			p, err := l.dial(ctx, l.targets[i%len(l.targets)])
			if err != nil {
				errs <- err
				return
			}
			defer p.conn.Close()
			for {
				n := int(next.Add(1)) - 1
				first := n * l.perRequest
				if first >= l.events || ctx.Err() != nil {
					return
				}
				due := time.Now()
				if l.interval > 0 {
					due = start.Add(time.Duration(n) * l.interval)
					time.Sleep(time.Until(due))
				}
				count := min(l.perRequest, l.events-first)
				b.sent(first, count, due)
				if err := p.post(l.body(nil, first, count)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// publisher is one connection. It implements only as much HTTP/1.1 as it needs, because the load
// generator shares the processors with what it measures.
type publisher struct {
	conn   net.Conn
	reader *bufio.Reader
	head   []byte
	buffer []byte
}

func (l load) dial(ctx context.Context, target string) (*publisher, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	head := "POST " + l.path + " HTTP/1.1\r\nHost: " + target + "\r\nContent-Type: application/json\r\n"
	if l.key != "" {
		head += "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(l.key)) + "\r\n"
	}
	return &publisher{conn: conn, reader: bufio.NewReader(conn), head: []byte(head + "Content-Length: ")}, nil
}

func (p *publisher) post(body []byte) error {
	p.buffer = append(p.buffer[:0], p.head...)
	p.buffer = strconv.AppendInt(p.buffer, int64(len(body)), 10)
	p.buffer = append(p.buffer, "\r\n\r\n"...)
	p.buffer = append(p.buffer, body...)
	if _, err := p.conn.Write(p.buffer); err != nil {
		return err
	}
	status, err := p.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 2"))
	refused := string(status)
	length := 0
	for {
		line, err := p.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(": ")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if ok {
		_, err = p.reader.Discard(length)
		return err
	}
	answer := make([]byte, length)
	_, err = io.ReadFull(p.reader, answer)
	return fmt.Errorf("answered %s %s: %w", bytes.TrimSpace([]byte(refused)), answer, err)
}

// rawBody is the body of the raw run: about what Herald would send.
func rawBody(into []byte, first, _ int) []byte {
	into = append(into, `{"ClientId":"019ab0c1-0000-7000-8000-000000000000","ClientName":"Bench","CompanyId":"019ab0c1-0000-7000-8000-000000000001","RuleId":"019ab0c1-0000-7000-8000-000000000002","RuleType":"bench","AlertId":"019ab0c1-0000-7000-8000-000000000003","Message":"Benchmark event","Data":{"n":`...)
	into = strconv.AppendInt(into, int64(first), 10)
	return append(into, `}}`...)
}

// eventBody is a publish of one event or of an array.
func eventBody(into []byte, first, n int) []byte {
	if n > 1 {
		into = append(into, '[')
	}
	for i := range n {
		if i > 0 {
			into = append(into, ',')
		}
		into = append(into, `{"type":"bench","companyId":"019ab0c1-0000-7000-8000-000000000001","data":{"n":`...)
		into = strconv.AppendInt(into, int64(first+i), 10)
		into = append(into, `}}`...)
	}
	if n > 1 {
		into = append(into, ']')
	}
	return into
}
