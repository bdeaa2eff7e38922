package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"herald/internal/egress"
)

func testPools() *pools {
	return newPools(Options{Guard: egress.New(egress.Options{}), Timeout: DefaultTimeout})
}

func TestOnlyTheReceiverThatTimedOutMoves(t *testing.T) {
	p, a, b := testPools(), receiver{"https", "a.example"}, receiver{"https", "b.example"}
	before := p.of(a)
	p.retire(a, before)
	moved := p.of(a)
	if moved == before || p.of(b) != before {
		t.Error("want another pool for the one receiver, and the same for the other")
	}
	p.retire(a, before) // an attempt that began earlier timed out too
	if p.of(a) != moved {
		t.Error("the timeout on a pool that was left replaced the new pool")
	}
	p.retire(a, moved)
	if again := p.of(a); again == moved || again == before {
		t.Error("the second timeout did not replace the pool")
	}
}

func TestPoolsAreBounded(t *testing.T) {
	p := testPools()
	for n := range 3 * maxMoved {
		r := receiver{"https", fmt.Sprint(n)}
		p.retire(r, p.of(r))
	}
	if len(p.moved) > maxMoved || len(p.left) > maxLeft {
		t.Errorf("%d pools of receivers, %d that were left", len(p.moved), len(p.left))
	}
	if last := (receiver{"https", fmt.Sprint(3*maxMoved - 1)}); p.of(last) == p.main {
		t.Error("the newest has no pool of its own")
	}
}

func TestConnectionsGetOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b := testPools(), receiver{"https", "a.example"}, receiver{"https", "b.example"}
		p.retire(a, p.of(a))
		first, own := p.of(b), p.of(a)
		time.Sleep(maxConnAge - time.Second)
		if p.of(b) != first || p.of(a) != own {
			t.Error("the pools were left too early")
		}
		time.Sleep(time.Second)
		if p.of(b) == first || p.of(a) == own || p.of(a) == first {
			t.Errorf("the pools are in use for longer than %v", maxConnAge)
		}
	})
}

func TestPoolEndsWithTheFirstCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b := testPools(), receiver{"https", "a.example"}, receiver{"https", "b.example"}
		p.retire(a, p.of(a))
		first, own := p.of(b), p.of(a)
		saw := func(p *pool, left time.Duration) {
			if err := p.sawCertificate(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: time.Now().Add(left)}}}); err != nil {
				t.Fatal(err)
			}
		}
		saw(own, 20*time.Second)
		saw(own, 10*time.Second)
		saw(own, time.Hour)
		time.Sleep(10 * time.Second)
		if p.of(a) != own {
			t.Error("the pool was left too early")
		}
		time.Sleep(time.Second)
		if p.of(a) == own || p.of(b) != first {
			t.Error("want another pool for the receiver whose certificate expired, and the same for the other")
		}
	})
}

func BenchmarkPoolOf(b *testing.B) {
	p, r := testPools(), receiver{"https", "a.example"}
	b.ReportAllocs()
	for b.Loop() {
		p.of(r)
	}
}
