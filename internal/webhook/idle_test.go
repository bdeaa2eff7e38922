package webhook

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipe returns a connection to a receiver, and whether it is closed.
func pipe(t *testing.T, r receiver, i *idleConns) (c *http1Conn, closed func() bool) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	tcp := &conn{Conn: here}
	c = newHTTP1Conn(tcp, tcp, r, i)
	return c, func() bool { return here.SetDeadline(time.Time{}) != nil }
}

func TestConnectionThatWasUsedLastIsTakenFirst(t *testing.T) {
	i, a, b := newIdleConns(idlePerHost), receiver{"http", "a.example"}, receiver{"http", "b.example"}
	defer i.close()
	first, _ := pipe(t, a, i)
	second, _ := pipe(t, a, i)
	other, _ := pipe(t, b, i)
	for _, c := range []*http1Conn{first, second, other} {
		i.put(c)
	}
	if i.take(a) != second || i.take(a) != first || i.take(a) != nil || i.take(b) != other || i.take(b) != nil {
		t.Error("want the second, the first, and the other")
	}
	if len(i.of) != 0 || i.order.Len() != 0 {
		t.Errorf("%d receivers and %d connections are remembered, want none", len(i.of), i.order.Len())
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	i, r := newIdleConns(2), receiver{"http", "a.example"}
	first, closed := pipe(t, r, i)
	i.put(first)
	for range 2 {
		c, _ := pipe(t, r, i)
		i.put(c)
	}
	if !closed() || i.order.Len() != 2 {
		t.Errorf("of three connections to a receiver %d are kept, want the last two", i.order.Len())
	}
	for n := range maxIdle + 10 {
		c, _ := pipe(t, receiver{"http", fmt.Sprint(n)}, i)
		i.put(c)
	}
	newest := receiver{"http", fmt.Sprint(maxIdle + 9)}
	if i.order.Len() != maxIdle || len(i.of) != maxIdle || i.take(r) != nil || i.take(newest) == nil {
		t.Errorf("%d connections of %d receivers are kept, want the last %d", i.order.Len(), len(i.of), maxIdle)
	}
	i.close()
	late, closed := pipe(t, r, i)
	if i.put(late); !closed() || i.order.Len() != 0 {
		t.Error("a connection is kept after the end")
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, r := newIdleConns(idlePerHost), receiver{"http", "a.example"}
		first, firstClosed := pipe(t, r, i)
		second, secondClosed := pipe(t, r, i)
		i.put(first)
		time.Sleep(idleFor / 2)
		i.put(second)
		time.Sleep(idleFor/2 - time.Second)
		if firstClosed() {
			t.Error("it was closed too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !firstClosed() || secondClosed() {
			t.Error("want the first closed, and not the second")
		}
		time.Sleep(idleFor / 2)
		synctest.Wait()
		if !secondClosed() || i.timer != nil {
			t.Error("want the second closed, and no timer")
		}
	})
}
