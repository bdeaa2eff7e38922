package mail

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"herald"
)

// eximConfig makes Exim accept mail for any mailbox into one file; %[1]s is a directory, %[2]d a
// port.
const eximConfig = `primary_hostname = mta.example
spool_directory = %[1]s/spool
log_file_path = %[1]s/log-%%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  deny local_parts = nobody
       message = no such mailbox
  defer local_parts = later
       message = come back
  accept
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = %[1]s/mail
  user = Debian-exim
  create_file = anywhere
`

// TestRealMTA sends to Exim, as Debian packages it (exim4-daemon-light), and reads the delivered
// message. HERALD_MTA=1 runs it, as root; make soak sets that.
func TestRealMTA(t *testing.T) {
	if os.Getenv("HERALD_MTA") == "" {
		t.Skip("it needs Exim and root: make soak runs it")
	}
	dir, port := startExim(t)
	from := sender(t, fmt.Sprintf("smtp://127.0.0.1:%d?tls=none", port), func(o *Options) { o.Timeouts = Timeouts{} })
	for box, want := range map[string]struct {
		status int
		reason herald.Reason
	}{"ann@bücher.example": {250, ""}, "nobody@acme.example": {550, herald.ReasonStatus}, "later@acme.example": {451, herald.ReasonStatus}} {
		if result := from.Send(t.Context(), request(box)); result.Status != want.status || result.Reason != want.reason {
			t.Errorf("%s: %+v, want %+v", box, result, want)
		}
	}
	var text []byte
	for deadline := time.Now().Add(30 * time.Second); len(text) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Exim has delivered nothing")
		}
		text, _ = os.ReadFile(filepath.Join(dir, "mail")) // it may not be there yet
	}
	// A mailbox file starts each message with one extra line.
	_, message, _ := strings.Cut(string(text), "\n")
	header, parts := parse(t, []byte(message))
	if header.Get("To") != "<ann@xn--bcher-kva.example>" || header.Get("List-Unsubscribe-Post") == "" {
		t.Errorf("headers: %v", header)
	}
	golden(t, map[string]string{
		"text/plain": strings.TrimSuffix(parts["text/plain"], "\n") + "\n", "text/html": strings.TrimSuffix(parts["text/html"], "\n") + "\n",
	}, "message")
}

func startExim(t *testing.T) (dir string, port int) {
	t.Helper()
	who, err := user.Lookup("Debian-exim")
	if err != nil {
		t.Fatalf("%v; install exim4-daemon-light", err)
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = os.MkdirTemp("", "herald-exim-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, eximConfig, dir, port), 0o644); err != nil {
		t.Fatal(err)
	}
	exim := exec.Command("exim4", "-C", config, "-bdf", "-oX", "127.0.0.1."+strconv.Itoa(port))
	exim.Stdout, exim.Stderr = os.Stdout, os.Stderr
	if err := exim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exim.Process.Kill()
		_ = exim.Wait() // the error is that it was killed
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			conn.Close()
			return dir, port
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
