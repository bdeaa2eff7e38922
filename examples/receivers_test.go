// Package examples_test runs the receivers that the README shows, against a whole Herald and against
// requests that Herald never sends.
package examples_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"herald"
	"herald/client"
	"herald/internal/app"
)

const (
	authorization = "Bearer s3cret"
	operatorKey   = "operator-key-for-tests-0123456789abcdef"
)

// receiver is one of the examples, as a process.
type receiver struct {
	url   string
	lines chan string // what it prints
}

// each runs a test against every receiver.
func each(t *testing.T, test func(t *testing.T, start func(t *testing.T, environment ...string) *exec.Cmd, port string)) {
	binary := filepath.Join(t.TempDir(), "receiver-go")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./receiver-go").CombinedOutput(); err != nil {
		t.Fatalf("build the Go receiver: %v: %s", err, out)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("the Node receiver is not tested without node; install it, on Debian with: apt-get install nodejs")
	}
	for name, arguments := range map[string][]string{"Go": {binary}, "Node": {node, "receiver-node/receiver.mjs"}} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			test(t, func(t *testing.T, environment ...string) *exec.Cmd {
				c := exec.CommandContext(context.Background(), arguments[0], arguments[1:]...) // ended by run
				c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LISTEN=127.0.0.1:" + port, "PORT=" + port}, environment...)
				return c
			}, port)
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// run starts a receiver and waits until it takes connections.
func run(t *testing.T, c *exec.Cmd, port string) *receiver {
	t.Helper()
	r := &receiver{url: "http://127.0.0.1:" + port + "/hook", lines: make(chan string, 100)}
	reader, writer := io.Pipe()
	c.Stdout, c.Stderr = writer, writer
	go func() {
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			r.lines <- lines.Text()
		}
	}()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("the receiver ended by itself: %v", err)
		default:
			_ = c.Process.Kill()
			<-ended
		}
		writer.Close()
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		connection, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			connection.Close()
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("the receiver does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // polls, up to the deadline
	}
}

// post returns the status of an answer, 0 when there is none.
func post(t *testing.T, url, header, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		request.Header.Set("Authorization", header)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func TestReceiversDoNotStartWithoutTheSecret(t *testing.T) {
	each(t, func(t *testing.T, start func(*testing.T, ...string) *exec.Cmd, _ string) {
		for _, environment := range [][]string{nil, {"WEBHOOK_AUTHORIZATION="}} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			made := start(t, environment...)
			c := exec.CommandContext(ctx, made.Path, made.Args[1:]...)
			c.Env = made.Env
			out, err := c.CombinedOutput()
			cancel()
			if err == nil || ctx.Err() == context.DeadlineExceeded || !strings.Contains(string(out), "WEBHOOK_AUTHORIZATION is empty") {
				t.Errorf("with %v it ended with %v and said: %s", environment, err, out)
			}
		}
	})
}

func TestReceiversRefuseWhatIsNotAnAlertAndGoOn(t *testing.T) {
	each(t, func(t *testing.T, start func(*testing.T, ...string) *exec.Cmd, port string) {
		r := run(t, start(t, "WEBHOOK_AUTHORIZATION="+authorization), port)
		const alert = `{"AlertId":"01a209ea-d8ba-7145-8422-9f0e43000100","RuleType":"Sync Failed","Message":"first"}`
		large := `{"AlertId":"x","Message":"` + strings.Repeat("x", 3<<20) + `"}`
		for name, c := range map[string]struct {
			header, body string
			want         int
		}{
			"no header":         {"", alert, 401},
			"another header":    {"Bearer other!", alert, 401},
			"a longer header":   {authorization + "x", alert, 401},
			"not JSON":          {authorization, "nonsense", 400},
			"half of JSON":      {authorization, alert[:20], 400},
			"an empty body":     {authorization, "", 400},
			"null":              {authorization, "null", 400},
			"a number":          {authorization, "1", 400},
			"without an id":     {authorization, `{"Message":"x"}`, 400},
			"an id of a number": {authorization, `{"AlertId":7}`, 400},
		} {
			if got := post(t, r.url, c.header, c.body); got != c.want {
				t.Errorf("%s: status %d, want %d", name, got, c.want)
			}
		}
		// The connection may break while the rest of the body is on its way.
		if got := post(t, r.url, authorization, large); got != 413 && got != 0 {
			t.Errorf("a body of 3 MiB: status %d, want 413", got)
		}
		breakOff(t, port)
		for range 2 { // it goes on, and handles the alert once
			if got := post(t, r.url, authorization, alert); got != 204 {
				t.Errorf("an alert after all of these: status %d", got)
			}
		}
		if got := post(t, r.url, authorization, strings.NewReplacer("0100", "0200", "first", "second").Replace(alert)); got != 204 {
			t.Errorf("another alert: status %d", got)
		}
		if got := post(t, r.url+"?x=1", authorization, alert); got != 204 { // a rule's address may have a query
			t.Errorf("an alert to an address with a query: status %d", got)
		}
		var handled []string
		for len(handled) < 2 {
			select {
			case line := <-r.lines:
				if strings.Contains(line, "Sync Failed") {
					handled = append(handled, line)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("it printed %q", handled)
			}
		}
		if !strings.HasSuffix(handled[0], "first") || !strings.HasSuffix(handled[1], "second") {
			t.Errorf("it handled %q, want the first alert once and then the second", handled)
		}
	})
}

// breakOff sends half a request and resets the connection.
func breakOff(t *testing.T, port string) {
	t.Helper()
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(connection, "POST /hook HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 1000\r\n\r\n{\"AlertId\"", authorization)
	_ = connection.(*net.TCPConn).SetLinger(0)
	connection.Close()
}

func TestReceiversTakeAlertsOfARealHerald(t *testing.T) {
	each(t, func(t *testing.T, start func(*testing.T, ...string) *exec.Cmd, port string) {
		r := run(t, start(t, "WEBHOOK_AUTHORIZATION="+authorization), port)
		service, err := app.Start(context.Background(), app.Config{
			Listen: "127.0.0.1:0", DataDir: t.TempDir(), OperatorKeys: []string{operatorKey},
			AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Version: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := service.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		acme := connect(t, service, operatorKey)
		account, err := acme.CreateClient(t.Context(), "Acme")
		if err != nil {
			t.Fatal(err)
		}
		acme = connect(t, service, account.APIKey)
		profile, err := acme.Profile(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			header string
			want   herald.State
		}{{authorization, herald.Delivered}, {"Bearer wrong", herald.Failed}} {
			profile.RedirectURL, profile.AlertAuthHeader = "https://acme.example", c.header
			if _, err := acme.SaveProfile(t.Context(), profile); err != nil {
				t.Fatal(err)
			}
			rule, err := acme.CreateRule(t.Context(), client.Rule{Type: "Sync Connection Deleted", Notifiers: client.Notifiers{Webhook: r.url}})
			if err != nil {
				t.Fatal(err)
			}
			receipt, err := acme.Publish(t.Context(), client.Event{Type: "Sync Connection Deleted", CompanyID: rule.ID})
			if err != nil {
				t.Fatal(err)
			}
			if got := ended(t, acme, receipt); got.State != c.want {
				t.Errorf("with %q the delivery is %s (%s)", c.header, got.State, got.Reason)
			}
			if err := acme.DeleteRule(t.Context(), rule.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func connect(t *testing.T, service *app.App, key string) *client.API {
	t.Helper()
	api, err := client.New(service.URL(), key)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// ended waits for the end of the only delivery of an event.
func ended(t *testing.T, api *client.API, receipt herald.Receipt) client.Delivery {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		d, err := api.Delivery(t.Context(), receipt.AlertIDs[0]) // the first delivery has the alert's id
		if err != nil {
			t.Fatal(err)
		}
		if d.State != herald.Pending {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("the delivery is still %s", d.State)
		}
		time.Sleep(10 * time.Millisecond) // polls, up to the deadline
	}
}
