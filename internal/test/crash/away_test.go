package crash_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/test/postgres"
)

// smallDisk mounts a small disk. It returns an empty directory on it and the path of a file that
// can fill the disk.
func smallDisk(t *testing.T) (data, ballast string) {
	t.Helper()
	disk := t.TempDir()
	err := mountTmpfs(disk, "size=512m")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("a small disk cannot be mounted here (%v); it needs root on Linux; TestDatabaseAway covers the rest", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(disk); err != nil {
			t.Error(err)
		}
	})
	data = filepath.Join(disk, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data, filepath.Join(disk, "ballast")
}

// readiness returns the status of /readyz.
func (n *node) readiness() int {
	n.t.Helper()
	response, err := http.Get("http://" + n.address + "/readyz")
	if err != nil {
		n.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// TestDatabaseAwayWhileItsLogIsFull is the worst case of fault 7: PostgreSQL has no room for its
// write-ahead log and panics. It ends, or tries to recover until there is room. The test starts it
// again, as an administrator would, but not the nodes.
func TestDatabaseAwayWhileItsLogIsFull(t *testing.T) {
	data, ballast := smallDisk(t)
	server := newServer(t, postgres.Options{Data: data, WALInData: true})
	binary, flags := build(t), nodesOn(t, server.Host())
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...)}
	key := nodes[0].publisher()
	run(t, nodes, func() {
		pause(500*time.Millisecond, time.Second)
		fill(t, ballast)
		eventually(t, "PostgreSQL panics", func() bool {
			fillWAL(t, server)
			return strings.Contains(server.Log(), "PANIC:")
		})
		for _, n := range nodes {
			eventually(t, "a publish is answered 503", func() bool { return n.refuses(key) })
			eventually(t, "a node is not ready", func() bool { return n.readiness() == http.StatusServiceUnavailable })
		}
		pause(time.Second, 2*time.Second)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			eventually(t, "publishing goes on", func() bool {
				if server.Ended() {
					t.Log("PostgreSQL had ended, and is started again")
					if err := server.Resume(); err != nil {
						t.Fatal(err)
					}
				}
				return !n.refuses(key)
			})
			eventually(t, "a node is ready again", func() bool { return n.readiness() == http.StatusOK })
		}
		pause(time.Second, 2*time.Second)
	})
}

// fillWAL writes write-ahead log until PostgreSQL fails, because the load alone would take too
// long.
func fillWAL(t *testing.T, server *postgres.Server) {
	t.Helper()
	db, err := sql.Open("pgx", "postgres://herald@"+server.Host()+"/postgres?sslmode=disable&connect_timeout=2")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for err == nil {
		_, err = db.ExecContext(t.Context(), `SELECT pg_logical_emit_message(true, 'crash', repeat('x', 1000000))`)
	}
}

// overdue is a receiver that refuses every request until take is called. Then it takes each request
// slowly, so that they pile up.
type overdue struct {
	mu             sync.Mutex
	refused        map[uuid.UUID]bool
	taken          map[uuid.UUID]bool
	taking         bool
	inFlight, peak int
}

func (o *overdue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	var body struct {
		AlertID uuid.UUID `json:"AlertId"`
	}
	if err != nil || json.Unmarshal(text, &body) != nil {
		return // the request broke off, so it was not sent completely
	}
	if !o.enter(body.AlertID) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	time.Sleep(200 * time.Millisecond) // a slow receiver is the point: see overdue
	// The sender starts its next request after this response. So the count falls before that.
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inFlight--
	o.taken[body.AlertID] = true
}

func (o *overdue) enter(alert uuid.UUID) (taking bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.taking {
		o.refused[alert] = true
		return false
	}
	o.inFlight++
	o.peak = max(o.peak, o.inFlight)
	return true
}

func (o *overdue) counts() (refused, taken, peak int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.refused), len(o.taken), o.peak
}

func (o *overdue) take() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taking = true
}

// TestNoStormAfterTheDatabaseWasAway is fault 8 with a large backlog. While PostgreSQL is away,
// many more retries come due than a node makes at once. When it is back, all of them are made, and
// no more at once than at any other time.
func TestNoStormAfterTheDatabaseWasAway(t *testing.T) {
	const alerts = 4000
	server := newServer(t, postgres.Options{})
	receiver := &overdue{refused: make(map[uuid.UUID]bool), taken: make(map[uuid.UUID]bool)}
	hook := httptest.NewServer(receiver)
	t.Cleanup(hook.Close)
	// The timeout is so long that no attempt ends before its response. So the receiver's count is
	// the number of attempts under way.
	flags := append(nodesOn(t, server.Host()), "--request-timeout", "60s", "--retry-schedule", strings.Repeat("3s,", 19)+"3s")
	binary := build(t)
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...)}
	publishMany(t, nodes, hook.URL, alerts)
	eventually(t, "all were tried once", func() bool { refused, _, _ := receiver.counts(); return refused == alerts })
	if err := server.Halt(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // longer than the 3 s interval, so all are due; no node can be asked now
	receiver.take()
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are delivered", func() bool { _, taken, _ := receiver.counts(); return taken == alerts })
	_, _, peak := receiver.counts()
	t.Logf("%d overdue deliveries were made by %d nodes, at most %d at once", alerts, len(nodes), peak)
	if peak > len(nodes)*perLane {
		t.Errorf("%d requests at once, of %d nodes that make at most %d each", peak, len(nodes), perLane)
	}
}

// publishMany publishes events for one receiver, at the nodes in turns.
func publishMany(t *testing.T, nodes []*node, url string, events int) {
	t.Helper()
	account, err := nodes[0].client(operatorKey).CreateClient(t.Context(), "Overdue")
	if err != nil {
		t.Fatal(err)
	}
	rule := client.Rule{Type: "Sync Completed", Notifiers: client.Notifiers{Webhook: url}}
	if _, err := nodes[0].client(account.APIKey).CreateRule(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	batch := make([]client.Event, 100)
	for i := range batch {
		batch[i] = client.Event{Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)}
	}
	for i := range events / len(batch) {
		if _, err := nodes[i%len(nodes)].client(account.APIKey).PublishAll(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}
