package crash_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"herald/internal/secret"
	"herald/internal/test/postgres"
)

// newServer starts a PostgreSQL server that only this test uses, because the test stops or breaks
// it.
func newServer(t *testing.T, o postgres.Options) *postgres.Server {
	t.Helper()
	s, err := postgres.StartWith(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// nodesOn returns the flags of nodes on a database.
func nodesOn(t *testing.T, hosts ...string) []string {
	t.Helper()
	keyFile := filepath.Join(t.TempDir(), "secret.key")
	if _, err := secret.LoadOrMakeKey(keyFile); err != nil {
		t.Fatal(err)
	}
	address := "postgres://herald@" + strings.Join(hosts, ",") + "/postgres?sslmode=disable&connect_timeout=2&target_session_attrs=read-write"
	return []string{"--database", address, "--secret-key-file", keyFile, "--node-timeout", "2s"}
}

// eventually polls until a condition holds. After 30 s it fails the test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// isReady reports whether /readyz answers 200.
func (n *node) isReady() bool {
	response, err := http.Get("http://" + n.address + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// publisher returns the key of a new client, for single publishes of a test.
func (n *node) publisher() string {
	n.t.Helper()
	account, err := n.client(operatorKey).CreateClient(n.t.Context(), "By hand")
	if err != nil {
		n.t.Fatal(err)
	}
	return account.APIKey
}

// refuses reports whether a publish is answered 503. Any other error of the service fails the test,
// as does a 503 without Retry-After.
func (n *node) refuses(key string) bool {
	n.t.Helper()
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, "http://"+n.address+"/events",
		strings.NewReader(`{"type":"Sync Completed","companyId":"019ab0c1-0000-7000-8000-000000000000","data":{"syncId":"1","syncType":"Expense"}}`))
	if err != nil {
		n.t.Fatal(err)
	}
	request.SetBasicAuth(key, "")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	response.Body.Close()
	unavailable := response.StatusCode == http.StatusServiceUnavailable
	if !unavailable && response.StatusCode != http.StatusAccepted || unavailable && response.Header.Get("Retry-After") == "" {
		n.t.Errorf("a publish is answered %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
	}
	return unavailable
}

// perLane is the most requests that a node makes to one receiver at once.
const perLane = 128

// TestDatabaseAway is fault 8: PostgreSQL is stopped for seconds under load. Publishers get 503 and
// Retry-After. When it is back, everything continues, without a burst of requests.
func TestDatabaseAway(t *testing.T) {
	server := newServer(t, postgres.Options{})
	binary, flags := build(t), nodesOn(t, server.Host())
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...)}
	key := nodes[0].publisher()
	receiver := run(t, nodes, func() {
		pause(500*time.Millisecond, time.Second)
		if err := server.Halt(); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			eventually(t, "a publish is answered 503", func() bool { return n.refuses(key) })
			eventually(t, "a node without its database is not ready", func() bool { return !n.isReady() })
		}
		pause(3*time.Second, 4*time.Second) // longer than --node-timeout
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			eventually(t, "a node is ready again", n.isReady)
		}
		pause(time.Second, 2*time.Second)
	})
	// Twice, because a request whose sender has timed out may still be at the receiver.
	if peak := receiver.Peak(); peak > 2*len(nodes)*perLane {
		t.Errorf("%d requests at once, of %d nodes that make at most %d each", peak, len(nodes), perLane)
	}
}

// TestDatabaseFull is fault 7 on PostgreSQL: while its disk is full, publishers get 503. When there
// is room again, everything continues.
func TestDatabaseFull(t *testing.T) {
	data, ballast := smallDisk(t)
	server := newServer(t, postgres.Options{Data: data})
	binary, flags := build(t), nodesOn(t, server.Host())
	nodes := []*node{newNode(t, binary, flags...)}
	key := nodes[0].publisher()
	run(t, nodes, func() {
		pause(300*time.Millisecond, 500*time.Millisecond)
		fill(t, ballast)
		eventually(t, "a publish is answered 503", func() bool { return nodes[0].refuses(key) })
		pause(time.Second, 2*time.Second)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		eventually(t, "publishing goes on", func() bool { return !nodes[0].refuses(key) })
		pause(time.Second, 2*time.Second)
	})
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 1<<20); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
