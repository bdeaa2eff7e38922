package localfault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestFaultsOfThisSide(t *testing.T) {
	op := func(op string, err error) error {
		return fmt.Errorf("wrapped: %w", &net.OpError{Op: op, Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: os.NewSyscallError("socket", err)})
	}
	dns := func(text string) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: text, Name: "a.example", Server: "192.0.2.53:53"}}
	}
	for _, test := range []struct {
		err   error
		local bool
	}{
		{op("dial", syscall.EMFILE), true}, {op("dial", syscall.ENFILE), true}, {op("dial", syscall.ENOBUFS), true}, {op("dial", syscall.ENOMEM), true},
		{op("dial", syscall.EADDRNOTAVAIL), true},
		{dns("dial udp 192.0.2.53:53: socket: too many open files"), true}, {dns("read udp 127.0.0.1:4->127.0.0.1:53: read: connection refused"), true},
		{dns("dial udp 192.0.2.53:53: connect: network is unreachable"), true},
		{op("dial", syscall.ECONNREFUSED), false}, {op("dial", syscall.ETIMEDOUT), false}, {op("dial", syscall.ECONNRESET), false},
		{op("read", syscall.ENOBUFS), false}, {op("write", syscall.ENOMEM), false}, {op("read", syscall.ECONNRESET), false},
		{dns("no such host"), false}, {dns("server misbehaving"), false}, {dns("i/o timeout"), false}, {dns("lame referral"), false},
		{io.EOF, false}, {errors.New("too many open files"), false}, {nil, false},
	} {
		if got := Text(test.err); (got != "") != test.local {
			t.Errorf("%v: %q, want a fault of this side: %v", test.err, got, test.local)
		}
	}
}
