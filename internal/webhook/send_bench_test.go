package webhook_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"herald/internal/webhook"
)

// BenchmarkSend is one attempt to a receiver in the same process, with 64 at a time. The receiver does
// as little as it can, so that the figures are those of the attempt.
func BenchmarkSend(b *testing.B) {
	plain := answering(b)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(secure.Close)
	for name, url := range map[string]string{"http": plain, "https": secure.URL} {
		b.Run(name, func(b *testing.B) {
			s := newSender(b, func(o *webhook.Options) {
				o.Timeout = time.Minute
				o.RootCAs = secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			})
			request := webhook.Request{URL: url, Body: []byte(`{"AlertId":"x","Data":`), Data: []byte(`"` + strings.Repeat("x", 500) + `"`), ClientID: clientID, Authorization: "Basic c2VjcmV0"}
			b.ReportAllocs()
			b.SetParallelism(32)
			before := processorTime(b)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if got := s.Send(b.Context(), request); got.Status/100 != 2 {
						b.Fatalf("%+v", got)
					}
				}
			})
			b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// answering is a receiver over plain HTTP that reads each request's headers and body and answers with
// a fixed response.
func answering(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
	return "http://" + l.Addr().String() + "/hook"
}

func answerAll(c net.Conn) {
	defer c.Close()
	reader, answer := bufio.NewReader(c), []byte("HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 08:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	for {
		size := 0
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
			if text, found := strings.CutPrefix(string(line), "Content-Length: "); found {
				for _, digit := range strings.TrimSpace(text) {
					size = 10*size + int(digit-'0')
				}
			}
		}
		if _, err := reader.Discard(size); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
