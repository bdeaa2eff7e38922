package webhook

import (
	"container/list"
	"sync"
	"time"
)

// idleConns are the connections of HTTP/1.1 that no attempt uses. Each may get the next request to its
// receiver within idleFor. It is safe for concurrent use.
type idleConns struct {
	perHost int // how many of one receiver

	mu     sync.Mutex
	of     map[receiver][]*list.Element // the one that was used last is the last
	order  list.List                    // of *http1Conn; the one that is idle for longest is the first
	timer  *time.Timer                  // runs while there is one
	closed bool
}

func newIdleConns(perHost int) *idleConns {
	return &idleConns{perHost: perHost, of: make(map[receiver][]*list.Element)}
}

// take returns a connection to a receiver, or nil. The receiver has not closed it, as far as is known.
func (i *idleConns) take(r receiver) *http1Conn {
	for {
		i.mu.Lock()
		all := i.of[r]
		if len(all) == 0 {
			i.mu.Unlock()
			return nil
		}
		c := i.remove(r, len(all)-1)
		i.mu.Unlock()
		if c.probe.silent() {
			return c
		}
		c.Close()
	}
}

// put keeps a connection, or closes it if it may not be kept. If there are too many, it closes the one of
// the receiver, or of all, that is idle for longest.
func (i *idleConns) put(c *http1Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		c.Close()
		return
	}
	if len(i.of[c.receiver]) >= i.perHost {
		i.remove(c.receiver, 0).Close()
	} else if i.order.Len() >= maxIdle {
		i.removeOldest().Close()
	}
	c.since = time.Now()
	i.of[c.receiver] = append(i.of[c.receiver], i.order.PushBack(c))
	if i.timer == nil {
		i.timer = time.AfterFunc(idleFor, i.expire)
	}
}

// expire closes what has been idle for idleFor.
func (i *idleConns) expire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = nil
	for i.order.Len() > 0 && !i.closed {
		left := idleFor - time.Since(i.order.Front().Value.(*http1Conn).since)
		if left > 0 {
			i.timer = time.AfterFunc(left, i.expire)
			return
		}
		i.removeOldest().Close()
	}
}

// close closes all, and what comes back later.
func (i *idleConns) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for i.order.Len() > 0 {
		i.removeOldest().Close()
	}
	if i.timer != nil {
		i.timer.Stop()
	}
}

// removeOldest takes out the connection that is idle for longest. Of its receiver's it is the first. The
// caller holds mu.
func (i *idleConns) removeOldest() *http1Conn {
	return i.remove(i.order.Front().Value.(*http1Conn).receiver, 0)
}

// remove takes out the nth connection to a receiver. The caller holds mu.
func (i *idleConns) remove(r receiver, n int) *http1Conn {
	all := i.of[r]
	c := i.order.Remove(all[n]).(*http1Conn)
	copy(all[n:], all[n+1:])
	all[len(all)-1] = nil
	if all = all[:len(all)-1]; len(all) == 0 {
		delete(i.of, r)
	} else {
		i.of[r] = all
	}
	return c
}
