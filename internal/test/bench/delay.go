package main

import (
	"net"
	"net/url"
	"time"
)

// delayed returns the address of a database behind a connection whose round trips take longer by delay, as
// to a server in another place or with a standby that confirms each commit. The connection ends with the
// process.
func delayed(database string, delay time.Duration) (string, error) {
	address, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	server := address.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				continue
			}
			go pass(far, near, delay/2)
			go pass(near, far, delay/2)
		}
	}()
	address.Host = listener.Addr().String()
	return address.String(), nil
}

// pass copies what comes from one connection to another, each part after delay. Parts overtake nothing and
// wait for nothing but their own delay.
func pass(to, from net.Conn, delay time.Duration) {
	type part struct {
		at   time.Time
		text []byte
	}
	parts := make(chan part, 4096)
	go func() {
		defer close(parts)
		for {
			text := make([]byte, 32<<10)
			n, err := from.Read(text)
			if n > 0 {
				parts <- part{time.Now().Add(delay), text[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range parts {
		time.Sleep(time.Until(p.at))
		if _, err := to.Write(p.text); err != nil {
			break
		}
	}
	to.Close()
	for range parts { // the reader must not wait for ever
	}
}
