package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"herald"
)

// certificate is for 127.0.0.1. This process trusts it.
var certificate tls.Certificate

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "herald-mail-")
	if err == nil {
		certificate, err = makeCertificate(filepath.Join(dir, "roots.pem"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("SSL_CERT_FILE", filepath.Join(dir, "roots.pem")) //nolint:errcheck // the tests would fail
	code := m.Run()
	os.RemoveAll(dir)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func makeCertificate(roots string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(roots, file, 0o600)
}

// server is a real SMTP server whose replies a test sets.
type server struct {
	t       *testing.T
	address string

	mu       sync.Mutex
	sessions int // begun so far
	open     int // begun and not ended
	inFlight int // transactions under way
	peak     int
	got      []delivered

	onMail, onRcpt, onData func() error
	password               string // required for a login; empty: no login
	implicit               bool   // TLS from the first byte
}

type delivered struct {
	from, to string
	message  []byte
}

func newServer(t *testing.T, set func(*server, *smtp.Server)) *server {
	t.Helper()
	s := &server{t: t}
	backend := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions++
		s.open++
		return &visit{server: s}, nil
	}))
	backend.Domain, backend.ErrorLog = "mail.example", quiet{}
	backend.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if set != nil {
		set(s, backend)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	if s.implicit {
		listener = tls.NewListener(listener, backend.TLSConfig)
	}
	served := make(chan struct{})
	go func() {
		backend.Serve(listener) //nolint:errcheck // it ends with Close
		close(served)
	}()
	t.Cleanup(func() {
		backend.Close()
		listener.Close() // Serve may begin only now, and would wait for ever
		<-served
	})
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type visit struct {
	*server
	delivered
}

func (s *visit) AuthMechanisms() []string {
	if s.password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		if password != s.password {
			return &smtp.SMTPError{Code: 535, Message: "wrong password"}
		}
		return nil
	}), nil
}

func call(fn func() error) error {
	if fn == nil {
		return nil
	}
	return fn()
}

func (s *visit) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return call(s.onMail)
}

func (s *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return call(s.onRcpt)
}

func (s *visit) Data(r io.Reader) error {
	s.enter(1)
	defer s.enter(-1)
	text, err := io.ReadAll(r)
	if err == nil {
		err = call(s.onData)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, delivered{s.from, s.to, text})
	return nil
}

func (s *visit) Reset() {}

func (s *visit) Logout() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	return nil
}

// counts returns how many sessions have begun and how many of them are open.
func (s *server) counts() (begun, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions, s.open
}

func (s *server) enter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight += n
	s.peak = max(s.peak, s.inFlight)
}

func refuse(code int) func() error {
	return func() error { return &smtp.SMTPError{Code: code, Message: "so it is"} }
}

// sender returns a Sender to an address, with timeouts that a test can wait for.
func sender(t *testing.T, address string, set ...func(*Options)) *Sender {
	t.Helper()
	parsed, err := ParseServer(address)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Server: parsed, From: netmail.Address{Name: "Herald", Address: "alerts@herald.example"}, PublicURL: "https://herald.example",
		Unsubscribe: func(uuid.UUID, string) string { return "https://herald.example/unsubscribe/" + token },
		Timeouts:    allTimeouts(time.Second), Product: "Herald/test",
	}
	for _, change := range set {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// allTimeouts returns timeouts that all are limit.
func allTimeouts(limit time.Duration) (t Timeouts) {
	for _, n := range timeoutNames {
		*n.of(&t) = limit
	}
	return t
}

// token is as long as a real unsubscribe token.
var token = strings.Repeat("abcdefghij", 12)

var body = []byte(`{"ClientId":"019ab0c1-0000-7000-8000-000000000000","ClientName":"Acme & Söhne","CompanyId":"8a210b68-6988-11ed-a1eb-0242ac120002",` +
	`"RuleId":"70af3071-65d9-4ec3-b3cb-5283e8d55dac","RuleType":"Data sync completed","AlertId":"019ab0c1-0000-7000-8000-000000000100",` +
	`"Message":"Data sync of type invoices completed for company <Müller>","Data":{"dataType":"invoices","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a","n":12345678901234567890,"nested":{"ok":true,"list":[1,2]}}}`)

func request(to string) Request {
	return Request{
		DeliveryID: uuid.MustParse("019ab0c1-0000-7000-8000-000000000101"), Mailbox: to, Body: body,
		RaisedAt: time.Date(2026, 11, 23, 22, 0, 1, 0, time.UTC),
	}
}

// TestWhatServersAnswer checks the result of each reply and each failure.
func TestWhatServersAnswer(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for _, test := range []struct {
		name   string
		set    func(*server, *smtp.Server)
		url    string // with %s for the server's address
		status int
		reason herald.Reason
	}{
		{"taken", nil, "smtp://%s", 250, ""},
		{"taken over implicit TLS", func(s *server, _ *smtp.Server) { s.implicit = true }, "smtps://%s", 250, ""},
		{"sender refused for now", func(s *server, _ *smtp.Server) { s.onMail = refuse(451) }, "smtp://%s", 451, herald.ReasonStatus},
		{"mailbox unknown", func(s *server, _ *smtp.Server) { s.onRcpt = refuse(550) }, "smtp://%s", 550, herald.ReasonStatus},
		{"mailbox full for now", func(s *server, _ *smtp.Server) { s.onRcpt = refuse(452) }, "smtp://%s", 452, herald.ReasonStatus},
		{"message refused", func(s *server, _ *smtp.Server) { s.onData = refuse(554) }, "smtp://%s", 554, herald.ReasonStatus},
		{"no STARTTLS", func(_ *server, b *smtp.Server) { b.TLSConfig = nil }, "smtp://%s", 0, herald.ReasonTLS},
		{"no STARTTLS, none demanded", func(_ *server, b *smtp.Server) { b.TLSConfig = nil }, "smtp://%s?tls=none", 250, ""},
		{"login", func(s *server, _ *smtp.Server) { s.password = "right" }, "smtp://me:right@%s", 250, ""},
		{"wrong login", func(s *server, _ *smtp.Server) { s.password = "right" }, "smtp://me:hunter2@%s", 0, herald.ReasonConnect},
		{"hangs", func(s *server, _ *smtp.Server) { s.onData = func() error { <-hang; return io.EOF } }, "smtp://%s", 0, herald.ReasonTimeout},
		{"TLS where none is", nil, "smtps://%s", 0, herald.ReasonTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, test.set)
			result := sender(t, fmt.Sprintf(test.url, s.address)).Send(t.Context(), request("a@acme.example"))
			if result.Status != test.status || result.Reason != test.reason {
				t.Errorf("status %d, reason %q (%s); want %d, %q", result.Status, result.Reason, result.Error, test.status, test.reason)
			}
			if (result.Error == "") != (test.status == 250) || bytes.Contains([]byte(result.Error+result.Request.URL), []byte("hunter2")) {
				t.Errorf("error %q, request %+v", result.Error, result.Request)
			}
			if taken := test.status == 250; taken != (len(s.got) == 1) {
				t.Errorf("the server has %d messages", len(s.got))
			}
		})
	}
}

// TestServersThatAreNotThere checks failures before any SMTP reply.
func TestServersThatAreNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var closing sync.WaitGroup
	closing.Go(func() { // drops every connection at once
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(closing.Wait)
	t.Cleanup(func() { listener.Close() })
	for address, want := range map[string]herald.Reason{
		"smtp://127.0.0.1:1":                      herald.ReasonConnectRefused,
		"smtp://no-such-host.invalid":             herald.ReasonDNS,
		"smtp://" + listener.Addr().String() + "": herald.ReasonReset,
	} {
		result := sender(t, address).Send(t.Context(), request("a@acme.example"))
		if result.Reason != want || result.Error == "" {
			t.Errorf("%s: %q (%s), want %q", address, result.Reason, result.Error, want)
		}
	}
	none, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if result := none.Send(t.Context(), request("a@acme.example")); result.Reason != herald.ReasonNoMailServer {
		t.Errorf("without a server: %+v", result)
	}
}

// TestConnectionIsUsedAgain: a connection is used again, also after a refusal. When the server has
// closed it, the next message goes over a new one.
func TestConnectionIsUsedAgain(t *testing.T) {
	var refused bool
	s := newServer(t, func(s *server, b *smtp.Server) {
		s.onRcpt = func() error {
			if refused = !refused; refused {
				return &smtp.SMTPError{Code: 550, Message: "unknown"}
			}
			return nil
		}
		b.ReadTimeout = 300 * time.Millisecond
	})
	from := sender(t, "smtp://"+s.address)
	for n := range 10 {
		if result := from.Send(t.Context(), request("a@acme.example")); result.Status != 250 && result.Status != 550 {
			t.Fatalf("message %d: %+v", n, result)
		}
	}
	// With STARTTLS one connection has two sessions.
	before, open := s.counts()
	if before > 2 || len(s.got) != 5 {
		t.Errorf("%d sessions for 10 messages, %d of them taken", before, len(s.got))
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); open > 0; _, open = s.counts() {
		if time.Now().After(deadline) {
			t.Fatal("the server did not close the idle connection within 10 s")
		}
		<-ticker.C
	}
	for range 2 {
		if result := from.Send(t.Context(), request("a@acme.example")); result.Status != 250 && result.Status != 550 {
			t.Errorf("after the server has closed the connection: %+v", result)
		}
	}
	if after, _ := s.counts(); after == before {
		t.Error("no new connection was made")
	}
}

// TestConnectionsAreBounded: many messages at once wait for a connection, and this wait does not
// count for the timeout of a transaction.
func TestConnectionsAreBounded(t *testing.T) {
	s := newServer(t, func(s *server, _ *smtp.Server) {
		// The server must be slow here: 40 messages over 4 connections take 2 s, twice the timeout.
		s.onData = func() error { time.Sleep(200 * time.Millisecond); return nil }
	})
	from := sender(t, "smtp://"+s.address)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if result := from.Send(t.Context(), request("a@acme.example")); result.Status != 250 {
				t.Errorf("%+v", result)
			}
		})
	}
	wg.Wait()
	if s.peak > MaxConnections || len(s.got) != 40 {
		t.Errorf("%d messages, %d at once; want 40, at most %d", len(s.got), s.peak, MaxConnections)
	}
}

// TestStopInterrupts: an attempt that the stop interrupts may have been sent.
func TestStopInterrupts(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	s := newServer(t, func(s *server, _ *smtp.Server) {
		s.onData = func() error { stop(); <-hang; return errors.New("too late") }
	})
	if result := sender(t, "smtp://"+s.address).Send(ctx, request("a@acme.example")); result.Reason != herald.ReasonInterrupted {
		t.Errorf("%+v", result)
	}
}

func TestServerAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"smtp://mail.example": "smtp://mail.example:587", "smtps://u:p@mail.example": "smtps://mail.example:465", "smtp://mail.example:25?tls=none": "smtp://mail.example:25",
		"smtp://u:hunter2@mail.example?tls=none": "", "smtps://mail.example?tls=none": "", "http://mail.example": "", "smtp://": "", "smtp://mail.example:99999": "",
		"smtp://mail.example?tls=maybe": "", "smtp://mail.example/path": "", "smtp://mail.example?x=1": "", "smtp://u:hunter2@mail.example:x": "", "%": "",
	} {
		s, err := ParseServer(address)
		switch {
		case want == "" && (err == nil || bytes.Contains([]byte(err.Error()), []byte("hunter2"))):
			t.Errorf("%s: %v, want an error without the password", address, err)
		case want != "" && (err != nil || s.String() != want):
			t.Errorf("%s: %v, %v; want %s", address, s, err, want)
		}
	}
}
