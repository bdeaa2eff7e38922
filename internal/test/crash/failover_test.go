package crash_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"herald/client"
	"herald/internal/test/postgres"
)

// TestPrimaryFailsOver is fault 9: a primary is killed under load, and its synchronous standby
// takes over. The nodes find it by themselves, and nothing acknowledged is lost. Publishers get no
// other error than 503. Whichever statement a broken connection interrupts, the cause is the
// database and never the request.
func TestPrimaryFailsOver(t *testing.T) {
	primary := newServer(t, postgres.Options{})
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Stop() }) //nolint:errcheck // the test is over
	binary, flags := build(t), nodesOn(t, primary.Host(), standby.Host())
	nodes := []*node{newNode(t, binary, flags...), newNode(t, binary, flags...)}
	refused := &errorStatuses{seen: make(map[int]int)}
	run(t, nodes, func() {
		pause(time.Second, 2*time.Second)
		// The primary is killed several times, because each kill interrupts other statements.
		for range 3 {
			if err := primary.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := primary.Resume(); err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				eventually(t, "a node is ready again", n.isReady)
			}
			pause(300*time.Millisecond, 600*time.Millisecond)
		}
		if err := errors.Join(primary.InSync(), primary.Kill()); err != nil {
			t.Fatal(err)
		}
		pause(500*time.Millisecond, time.Second)
		if err := standby.Promote(); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			eventually(t, "a node is ready on the new primary", n.isReady)
		}
		pause(time.Second, 2*time.Second)
	}, client.WithHTTPClient(&http.Client{Transport: refused}))
	t.Logf("publishers were answered with errors (status: how many): %v", refused.seen)
	for status := range refused.seen {
		if status != http.StatusServiceUnavailable {
			t.Errorf("publishers were answered %d, want no error but 503", status)
		}
	}
}
