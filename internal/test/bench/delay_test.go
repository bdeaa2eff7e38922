package main

import (
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestDelayedConnection: every byte arrives, in order, and a round trip takes the delay.
func TestDelayedConnection(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		c, err := echo.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	const delay = 20 * time.Millisecond
	address, err := delayed("postgres://herald@"+echo.Addr().String()+"/postgres?sslmode=disable", delay)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(address)
	if err != nil || at.Path != "/postgres" || at.User.Username() != "herald" {
		t.Fatalf("%s, %v", address, err)
	}
	c, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent, began := strings.Repeat("0123456789", 20_000), time.Now()
	go func() { _, _ = io.WriteString(c, sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != sent {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("a round trip took %v", took)
	}
}
