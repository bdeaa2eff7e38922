package certificate_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"herald/internal/certificate"
)

// pair is a certificate with its key, both in PEM.
type pair struct{ cert, key []byte }

// made returns a new self-signed certificate.
func made(t *testing.T, name string) pair { return madeUntil(t, name, time.Now().Add(time.Hour)) }

func madeUntil(t *testing.T, name string, notAfter time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: earlier(time.Now(), notAfter).Add(-time.Hour), NotAfter: notAfter,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// files are the paths of a pair.
type files struct {
	t         *testing.T
	cert, key string
}

func newFiles(t *testing.T, p pair) files {
	dir := t.TempDir()
	f := files{t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	f.write(p)
	return f
}

func (f files) write(p pair) {
	f.t.Helper()
	for file, text := range map[string][]byte{f.cert: p.cert, f.key: p.key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

// name returns the common name of the present certificate.
func name(t *testing.T, p *certificate.Pair) string {
	t.Helper()
	served, err := p.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return served.Leaf.Subject.CommonName
}

func TestRenewedCertificateIsServed(t *testing.T) {
	first, second := made(t, "first"), made(t, "second")
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t, first)
		p, err := certificate.Load(f.cert, f.key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f.write(second)
		if got := name(t, p); got != "first" {
			t.Errorf("%s is served: the files are looked at for every handshake", got)
		}
		time.Sleep(time.Second)
		if got := name(t, p); got != "second" {
			t.Errorf("%s is served a second after the change", got)
		}
	})
}

func TestUnusableRenewalKeepsTheCertificateAndIsToldOnce(t *testing.T) {
	first, second := made(t, "first"), made(t, "second")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := newFiles(t, first)
		p, err := certificate.Load(f.cert, f.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for what, broken := range map[string]pair{
			"another's key": {second.cert, first.key},
			"no PEM":        {[]byte("not a certificate"), first.key},
			"half a file":   {second.cert[:len(second.cert)/2], second.key},
		} {
			log.Reset()
			f.write(broken)
			for range 3 {
				time.Sleep(time.Second)
				if got := name(t, p); got != "first" {
					t.Errorf("%s: %s is served", what, got)
				}
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), f.cert) {
				t.Errorf("%s: %d errors are logged, want one that names the file:\n%s", what, n, &log)
			}
		}
		log.Reset()
		if err := os.Remove(f.key); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(time.Second)
			if got := name(t, p); got != "first" {
				t.Errorf("without a key: %s is served", got)
			}
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), f.key) {
			t.Errorf("without a key: %d errors are logged, want one that names the file:\n%s", n, &log)
		}
		f.write(second)
		time.Sleep(time.Second)
		if got := name(t, p); got != "second" {
			t.Errorf("%s is served after the pair was put right", got)
		}
	})
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	one, other := made(t, "one"), made(t, "other")
	good := newFiles(t, one)
	for _, test := range []struct {
		name, says string
		files      files
	}{
		{"no certificate", "nowhere.crt: no such file", files{t, "nowhere.crt", good.key}},
		{"no key", "nowhere.key: no such file", files{t, good.cert, "nowhere.key"}},
		{"another's key", "private key does not match public key", newFiles(t, pair{one.cert, other.key})},
		{"the files mixed up", "PEM inputs may have been switched", newFiles(t, pair{one.key, one.cert})},
		{"no PEM", "failed to find any PEM data", newFiles(t, pair{[]byte("x"), one.key})},
	} {
		_, err := certificate.Load(test.files.cert, test.files.key, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "TLS certificate") {
			t.Errorf("%s: %v, want …%s…", test.name, err, test.says)
		}
	}
}

// TestExpiryIsOfTheFirstOfTheChain: receivers of the chain refuse it when any of it has expired. A
// renewal is seen without a handshake.
func TestExpiryIsOfTheFirstOfTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := made(t, "soon")
		time.Sleep(30 * time.Minute)
		late := made(t, "late") // expires half an hour after the other
		f := newFiles(t, pair{append(append([]byte{}, late.cert...), soon.cert...), late.key})
		p, err := certificate.Load(f.cert, f.key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(p.Expires()).Round(time.Minute); left != 30*time.Minute {
			t.Errorf("the chain expires in %v, want 30m", left)
		}
		f.write(late)
		time.Sleep(time.Second)
		if left := time.Until(p.Expires()).Round(time.Minute); left != time.Hour {
			t.Errorf("the renewed certificate expires in %v, want 1h", left)
		}
	})
}
