package app_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/app"
)

// dial opens a bare connection to the API.
func (f *fixture) dial() net.Conn {
	f.t.Helper()
	connection, err := new(net.Dialer).DialContext(f.t.Context(), "tcp", f.app.Address())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { connection.Close() })
	return connection
}

// head returns the start of a publish on the wire, up to the headers about its body.
func head(key string) string {
	return "POST /events HTTP/1.1\r\nHost: herald\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte(key)) + "\r\n"
}

// answerOn reads an answer from a bare connection.
func answerOn(t *testing.T, connection net.Conn) (int, http.Header, string) {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, strings.TrimSpace(string(text))
}

// TestBodiesOverTheLimitAre413, with and without a Content-Length.
func TestBodiesOverTheLimitAre413(t *testing.T) {
	f := newFixture(t)
	long := func(n int) string {
		return `{"type":"Sync Completed","data":{"syncId":"` + strings.Repeat("x", n) + `"}}`
	}
	status, header, body := f.call("POST", "/events", f.account.APIKey, long(herald.MaxEventSize))
	wantError(t, "an event with its length", status, header, body, 413)

	// The length alone is enough: the service does not wait for a byte of the body.
	connection := f.dial()
	fmt.Fprintf(connection, "%sContent-Length: %d\r\n\r\n", head(f.account.APIKey), 100<<20)
	status, header, body = answerOn(t, connection)
	wantError(t, "a length of 100 MiB", status, header, body, 413)

	for what, size := range map[string]int{"an event": herald.MaxEventSize, "an array": herald.MaxPublishSize} {
		text := long(size)
		if size > herald.MaxEventSize {
			text = "[" + strings.Repeat(long(herald.MaxEventSize/2)+",", 33) + long(1) + "]"
		}
		connection := f.dial()
		go func() {
			// The write fails once the service has answered and closed.
			_, _ = fmt.Fprintf(connection, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head(f.account.APIKey), len(text), text)
		}()
		status, header, body := answerOn(t, connection)
		wantError(t, what+" in chunks", status, header, body, 413)
	}
	if status, _, body := f.call("POST", "/events", f.account.APIKey, eventText+"}"); status != 202 {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// TestHeadersAreBounded: longer headers get the answer of net/http, because they are not a request.
func TestHeadersAreBounded(t *testing.T) {
	f := newFixture(t)
	connection := f.dial()
	go func() {
		_, _ = fmt.Fprintf(connection, "%sX-Long: %s\r\n\r\n", head(f.account.APIKey), strings.Repeat("x", 1<<20)) // as above
	}()
	if status, _, body := answerOn(t, connection); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d %s", status, body)
	}
}

// TestPublishesAmongThousandsOfSlowConnections: the slow connections send nothing, half a header or
// half a body, and then nothing more.
func TestPublishesAmongThousandsOfSlowConnections(t *testing.T) {
	f := newFixture(t)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	beginnings := []string{
		"", "POST /events HT", head(f.account.APIKey) + "X-Half: ",
		head(f.account.APIKey) + "Content-Length: 16000000\r\n\r\n[{",
		head(f.account.APIKey) + "Transfer-Encoding: chunked\r\n\r\nffffff\r\n[{",
	}
	for i := range min(2000, int(files.Cur)/4) {
		if _, err := io.WriteString(f.dial(), beginnings[i%len(beginnings)]); err != nil {
			t.Fatal(err)
		}
	}
	large := "[" + strings.Repeat(eventText+"},", 999) + eventText + "}]"
	for i := range 20 {
		for what, body := range map[string]string{"an event": eventText + "}", "a large array": large} {
			if status, _, answer := f.call("POST", "/events", f.account.APIKey, body); status != 202 {
				t.Fatalf("%s, round %d: %d %.200s", what, i, status, answer)
			}
		}
	}
	status, _, body := f.call("GET", "/readyz", "", "")
	if status != 200 {
		t.Errorf("readyz: %d %s", status, body)
	}
}

// TestStopDoesNotWaitForSlowCallers: slow callers must not use up the budget that attempts need.
func TestStopDoesNotWaitForSlowCallers(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.StopBudget = 2 * time.Second })
	for _, beginning := range []string{"POST /events HT", head(f.account.APIKey) + "Content-Length: 100\r\n\r\n{"} {
		if _, err := io.WriteString(f.dial(), beginning); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(event()) // after this the service has accepted the other connections
	f.stop()           // fails the test if the budget is used up
}

// TestOddTextIsCarriedOrRefused: the receiver gets exactly the text that a publisher puts into an
// event, or the publisher gets a 400. Later events are delivered.
func TestOddTextIsCarriedOrRefused(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { newFixture(t).carriesOddText() })
	t.Run("PostgreSQL", func(t *testing.T) { newFixture(t, onPostgres(t)).carriesOddText() })
}

func (f *fixture) carriesOddText() {
	t := f.t
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	odd := []string{
		`\ud800`, `\udfff\ud800`, `\u0000`, "\ufffe\uffff", "\u202e\u200f\u2066", "\ufeff", "\u2028\u2029", `\u2028<\/script>&`,
		"a\u0301\U0001f468\u200d\U0001f469\u200d\U0001f467", `\ud83c\udf89`, "\x7f\u0085", `\b\f\"\\`, strings.Repeat("\U0001f389", 1000),
	}
	number := `-0.10e+0400`
	carried := 0
	for _, text := range odd {
		data := `{"syncId":"s","syncType":"t","FailureStage":"f","` + text + `":["` + text + `",` + number + `,{"":{}}]}`
		status, _, body := f.call("POST", "/events", f.account.APIKey, `{"type":"Sync Failed","companyId":"`+company.String()+`","data":`+data+`}`)
		if status != 202 {
			t.Errorf("data with %.40q: %d %s", text, status, body)
			continue
		}
		carried++
		eventually(t, "the webhook arrives", func() bool { return len(hook.got()) == carried })
		if got := string(hook.got()[carried-1].body); !strings.HasSuffix(got, `"Data":`+data+`}`) {
			t.Errorf("data with %.40q arrives as %.200q, want %.200q", text, got, data)
		}
	}
	deep := func(n int) string {
		return `{"type":"Sync Failed","companyId":"` + company.String() + `","data":{"syncId":"s","syncType":"t","FailureStage":"f","x":` + strings.Repeat(`{"x":[`, n) + strings.Repeat("]}", n) + "}}"
	}
	if status, _, body := f.call("POST", "/events", f.account.APIKey, deep(29)); status != 202 {
		t.Errorf("as deep as is allowed: %d %s", status, body)
	}
	for _, refused := range []string{
		deep(30), deep(300_000), eventText + `,"message":"\ud800"}`, eventText + `,"idempotencyKey":"\u0000"}`, eventText + ",\"message\":\"\xed\xa0\x80\"}",
	} {
		status, header, body := f.call("POST", "/events", f.account.APIKey, refused)
		wantError(t, fmt.Sprintf("%.300q", refused), status, header, body, 400)
	}
	f.ended(f.publish(event()))
}

// TestOthersAreServedBesideAHog: one client publishes arrays over many connections as fast as it
// can. Another client publishes single events, one after the other. An array of the first always
// waits on each connection, so in a plain queue each event would wait for all of them. With turns
// it waits for the batch under way and is in the next one.
func TestOthersAreServedBesideAHog(t *testing.T) {
	f := newFixture(t)
	f.rule("", uuid.Nil) // an alert for each event
	other, err := f.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	const connections, arrays = 48, 2
	array := "[" + strings.Repeat(eventText+"},", 249) + eventText + "}]"
	var hog sync.WaitGroup
	var answered atomic.Int64
	for range connections {
		hog.Go(func() {
			for range arrays {
				if status, _, body := f.call("POST", "/events", f.account.APIKey, array); status != 202 {
					t.Errorf("the hog: %d %.200s", status, body)
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, "the hog publishes", func() bool { return answered.Load() > 0 })
	served, before := int64(0), answered.Load()
	for answered.Load() < connections*(arrays-1) {
		if status, _, body := f.call("POST", "/events", other.APIKey, eventText+"}"); status != 202 {
			t.Errorf("the other: %d %.200s", status, body)
		}
		served++
	}
	beside := answered.Load() - before
	hog.Wait()
	t.Logf("%d publishes of the other beside %d arrays of the hog", served, beside)
	if served*connections*3/4 < beside {
		t.Errorf("%d publishes of the other were answered beside %d arrays of the hog: it waits for most of the hog's waiting arrays", served, beside)
	}
}
