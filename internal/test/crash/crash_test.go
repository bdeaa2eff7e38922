package crash_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"herald"
	"herald/client"
	"herald/internal/secret"
	"herald/internal/test/crash"
	"herald/internal/test/postgres"
)

func TestMain(m *testing.M) { postgres.Main(m) }

const operatorKey = "operator-key-of-the-crash-tests-0123456789"

// kills is how often a node is killed. HERALD_KILLS sets it for a long run.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("HERALD_KILLS"))
	if err != nil {
		return 6
	}
	t.Logf("%d kills", n)
	return n
}

// node is a herald process that a test kills and starts again.
type node struct {
	t       *testing.T
	binary  string
	args    []string
	address string
	process *exec.Cmd
	log     *os.File
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "herald")
	if out, err := exec.Command("go", "build", "-o", binary, "herald/cmd/herald").CombinedOutput(); err != nil {
		t.Fatalf("build herald: %v: %s", err, out)
	}
	return binary
}

func newNode(t *testing.T, binary string, args ...string) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, binary: binary, address: l.Addr().String()}
	l.Close()
	n.args = append([]string{"serve", "--listen", n.address, "--allow-target", "127.0.0.0/8", "--request-timeout", "500ms", "--log-level", "warn",
		"--retry-schedule", "50ms,100ms,100ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms"}, args...)
	if n.log, err = os.Create(filepath.Join(t.TempDir(), "log")); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(func() {
		n.end(syscall.SIGTERM)
		if text, err := os.ReadFile(n.log.Name()); t.Failed() && err == nil {
			t.Logf("the log of node %s:\n%.4000s", n.address, text)
		}
		n.log.Close()
	})
	return n
}

func (n *node) start() {
	n.t.Helper()
	n.process = exec.Command(n.binary, n.args...)
	isOwn := func(setting string) bool { return strings.HasPrefix(setting, "HERALD_") } // such as HERALD_KILLS
	n.process.Env = append(slices.DeleteFunc(os.Environ(), isOwn), "HERALD_OPERATOR_KEY="+operatorKey)
	n.process.Stdout, n.process.Stderr = n.log, n.log
	if err := n.process.Start(); err != nil {
		n.t.Fatal(err)
	}
	operator := n.client(operatorKey)
	for deadline := time.Now().Add(20 * time.Second); operator.Ready(n.t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("node %s is not ready after 20 s", n.address)
		}
	}
}

func (n *node) end(how syscall.Signal) error {
	_ = n.process.Process.Signal(how) // the process may have ended
	return n.process.Wait()
}

// logs reports whether a text is in the log of the node.
func (n *node) logs(text string) bool {
	n.t.Helper()
	log, err := os.ReadFile(n.log.Name())
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.Contains(string(log), text)
}

func (n *node) client(key string, options ...client.Option) *client.API {
	c, err := client.New("http://"+n.address, key, options...)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// run has publishers publish at the nodes while trouble happens. Afterwards it checks that nothing
// was lost.
func run(t *testing.T, nodes []*node, trouble func(), options ...client.Option) *crash.Receiver {
	t.Helper()
	receiver := crash.NewReceiver()
	hook := httptest.NewServer(receiver)
	t.Cleanup(hook.Close)
	account, err := nodes[0].client(operatorKey).CreateClient(t.Context(), "Crash")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].client(account.APIKey).CreateRule(t.Context(), client.Rule{Type: "Sync Completed", Notifiers: client.Notifiers{Webhook: hook.URL}}); err != nil {
		t.Fatal(err)
	}
	var clients []*client.API
	for _, n := range nodes {
		clients = append(clients, n.client(account.APIKey, options...))
	}
	publisher := &crash.Publisher{
		Clients: func() []*client.API { return clients },
		Event:   client.Event{Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)},
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { publisher.Run(ctx) })
	}
	refused, refusing := refusedPublisher(t, nodes, options...)
	wg.Go(func() { refusing.Run(ctx) })
	trouble()
	eventually(t, "enough alerts are acknowledged to prove something", func() bool { return len(publisher.Alerts()) >= 100 })
	stop()
	wg.Wait()
	problems := crash.Check(t.Context(), clients[0], publisher, receiver, 90*time.Second)
	if err := crash.CheckStatistics(t.Context(), clients[0], 90*time.Second); err != nil {
		problems = append(problems, err)
	}
	for _, c := range []*client.API{clients[0], refused} {
		if err := crash.CheckIssues(t.Context(), c, 90*time.Second); err != nil {
			problems = append(problems, err)
		}
	}
	if len(refusing.Alerts()) == 0 {
		t.Error("no alert was refused: the run says nothing about issues")
	}
	for i, problem := range problems {
		if i == 20 {
			t.Errorf("and %d more", len(problems)-i)
			break
		}
		t.Error(problem)
	}
	t.Logf("%d alerts were acknowledged; %d differences", len(publisher.Alerts()), len(problems))
	return receiver
}

// pause waits for a random time, so that each run breaks something at another moment of the load. There
// is no condition to wait for: the publishers go on meanwhile.
func pause(from, to time.Duration) { time.Sleep(from + rand.N(to-from)) }

// TestKilledOnSQLite is faults 1 to 4 and 37 on the embedded database.
func TestKilledOnSQLite(t *testing.T) {
	testKilled(t, newNode(t, build(t), "--data", filepath.Join(t.TempDir(), "data")))
}

// TestKilledOnPostgres is the same with a node that takes over what its old incarnation held.
func TestKilledOnPostgres(t *testing.T) { testKilled(t, newNode(t, build(t), onPostgres(t)...)) }

func testKilled(t *testing.T, n *node) {
	run(t, []*node{n}, func() {
		for range kills(t) {
			pause(100*time.Millisecond, time.Second)
			if err := n.end(syscall.SIGKILL); err == nil {
				t.Error("a killed node ended without an error")
			}
			n.start()
		}
		pause(100*time.Millisecond, 500*time.Millisecond)
	})
}

// TestStoppedInMidLoad is fault 5: SIGTERM ends with exit code 0, and every attempt that had time
// to end has its own result.
func TestStoppedInMidLoad(t *testing.T) {
	n := newNode(t, build(t), "--data", filepath.Join(t.TempDir(), "data"))
	run(t, []*node{n}, func() {
		for range 3 {
			pause(200*time.Millisecond, 600*time.Millisecond)
			if err := n.end(syscall.SIGTERM); err != nil {
				t.Errorf("SIGTERM: %v, want exit code 0", err)
			}
			n.start()
		}
	})
}

// onPostgres returns the flags of nodes that share a database.
func onPostgres(t *testing.T) []string {
	t.Helper()
	keyFile := filepath.Join(t.TempDir(), "secret.key")
	if _, err := secret.LoadOrMakeKey(keyFile); err != nil {
		t.Fatal(err)
	}
	return []string{"--database", postgres.Database(t), "--secret-key-file", keyFile, "--node-timeout", "2s"}
}

// TestOneOfThreeKilledOnPostgres is fault 37 with three nodes, of which one at a time is killed.
// The others take over its deliveries.
func TestOneOfThreeKilledOnPostgres(t *testing.T) {
	binary, flags := build(t), onPostgres(t)
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...), newNode(t, binary, flags...)}
	run(t, nodes, func() {
		for range kills(t) {
			pause(200*time.Millisecond, time.Second)
			victim := nodes[rand.IntN(len(nodes))]
			if err := victim.end(syscall.SIGKILL); err == nil {
				t.Error("a killed node ended without an error")
			}
			pause(100*time.Millisecond, 500*time.Millisecond)
			victim.start()
		}
	})
}

// TestStalledNodeRegistersAgain is fault 10: a node is stopped until the other declares it dead,
// and then continues. It registers as a new node.
func TestStalledNodeRegistersAgain(t *testing.T) {
	binary, flags := build(t), onPostgres(t)
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...)}
	run(t, nodes, func() {
		pause(300*time.Millisecond, 500*time.Millisecond)
		stalled := nodes[1]
		if err := stalled.process.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node declares it dead", func() bool { return nodes[0].logs("declared another node dead") })
		if err := stalled.process.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the stalled node registers as a new one", func() bool { return stalled.logs("registers as a new one") })
	})
}

// errorStatuses counts the answers to publishers that are no success, by status.
type errorStatuses struct {
	mu   sync.Mutex
	seen map[int]int
}

func (a *errorStatuses) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && response.StatusCode >= 300 {
		a.mu.Lock()
		a.seen[response.StatusCode]++
		a.mu.Unlock()
	}
	return response, err
}

// TestRollingRestart: three nodes are replaced one after the other under load. A publisher that
// tries another node when it cannot connect sees no error.
func TestRollingRestart(t *testing.T) {
	binary, flags := build(t), onPostgres(t)
	flags = append(flags, "--drain-delay", "500ms")
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...), newNode(t, binary, flags...)}
	refused := &errorStatuses{seen: make(map[int]int)}
	run(t, nodes, func() {
		pause(100*time.Millisecond, 200*time.Millisecond)
		for _, n := range nodes {
			ready := n.client(operatorKey)
			ended := make(chan error)
			go func() { ended <- n.end(syscall.SIGTERM) }()
			for deadline := time.Now().Add(10 * time.Second); ready.Ready(t.Context()) == nil; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("a node that stops still reports that it is ready")
					break
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("SIGTERM: %v, want exit code 0", err)
			}
			n.start()
		}
	}, client.WithHTTPClient(&http.Client{Transport: refused}))
	if len(refused.seen) > 0 {
		t.Errorf("publishers were answered with errors (status: how many): %v", refused.seen)
	}
}

// TestDeadNodesDeliveriesAreTakenOver measures how long the deliveries of a killed node wait until
// the other delivers them. Each must have a first attempt that may have been sent.
func TestDeadNodesDeliveriesAreTakenOver(t *testing.T) {
	hung, taken := make(chan struct{}), make(chan time.Time, 100)
	var first atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.Add(1) <= 50 { // all requests of the first node
			<-hung
			panic(http.ErrAbortHandler)
		}
		taken <- time.Now()
	}))
	t.Cleanup(hook.Close)
	t.Cleanup(func() { close(hung) })
	binary, flags := build(t), onPostgres(t)
	flags = append(flags, "--request-timeout", "30s")
	dies, lives := newNode(t, binary, flags...), newNode(t, binary, flags...)
	account, err := dies.client(operatorKey).CreateClient(t.Context(), "Orphans")
	if err != nil {
		t.Fatal(err)
	}
	c := dies.client(account.APIKey)
	if _, err := c.CreateRule(t.Context(), client.Rule{Type: "Sync Completed", Notifiers: client.Notifiers{Webhook: hook.URL}}); err != nil {
		t.Fatal(err)
	}
	event := client.Event{Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)}
	events := make([]client.Event, 50)
	for i := range events {
		events[i] = event
	}
	receipts, err := c.PublishAll(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first request", func() bool { return first.Load() > 0 })
	began := time.Now()
	if err := dies.end(syscall.SIGKILL); err == nil {
		t.Error("a killed node ended without an error")
	}
	first.Store(50)
	var last time.Duration
	for range receipts {
		select {
		case at := <-taken:
			last = at.Sub(began)
		case <-time.After(30 * time.Second):
			t.Fatal("the deliveries of a dead node are not made")
		}
	}
	t.Logf("the deliveries of a killed node were made %v after the kill, with --node-timeout 2s", last.Round(time.Millisecond))
	for _, r := range receipts {
		d, err := lives.client(account.APIKey).Delivery(t.Context(), r.AlertIDs[0])
		if err != nil || len(d.Attempts) == 0 || d.Attempts[0].Outcome != herald.OutcomeUnknown {
			t.Errorf("%+v, %v: want a first attempt that may have been sent", d.Attempts, err)
		}
	}
}
