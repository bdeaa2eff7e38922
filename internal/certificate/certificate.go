// Package certificate loads a TLS certificate and its key from two files. It reloads them
// when the files change, so renewing a certificate needs no restart.
package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkInterval is the shortest time between two reads of the files. Handshakes trigger
// the reads.
const checkInterval = time.Second

// Pair is a certificate chain and its key. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	checked time.Time
	// lastRead is the result of the last read. Comparing with it makes a pair that cannot
	// be used produce one log line only.
	lastRead contents
}

// contents are the contents of the two files. They are compared instead of times of
// modification: replacing a link to a directory (Kubernetes) does not change those, and
// two changes may have the same time.
type contents struct {
	cert, key []byte
	err       string
}

func (c contents) equal(o contents) bool {
	return bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key) && c.err == o.err
}

// Load reads a certificate chain and its key, both in PEM. An error names the files and
// the fault.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	p.lastRead = p.read()
	var err error
	p.current, err = p.parse(p.lastRead)
	return p, err
}

func (p *Pair) read() contents {
	cert, err := os.ReadFile(p.certFile)
	if err != nil {
		return contents{err: err.Error()}
	}
	key, err := os.ReadFile(p.keyFile)
	if err != nil {
		return contents{err: err.Error()}
	}
	return contents{cert: cert, key: key}
}

func (p *Pair) parse(c contents) (*tls.Certificate, error) {
	if c.err != "" {
		return nil, fmt.Errorf("TLS certificate: %s", c.err)
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with the key %s: %w", p.certFile, p.keyFile, err)
	}
	return &pair, nil
}

// Get returns the certificate for a handshake, as tls.Config.GetCertificate does. It never
// fails: while the files have no usable certificate, it returns the previous one.
func (p *Pair) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.checked) >= checkInterval {
		p.checked = now
		p.reload()
	}
	return p.current, nil
}

// Expires returns when the certificate that is served stops being valid: when the first of its chain
// expires. It looks at the files like Get.
func (p *Pair) Expires() time.Time {
	current, _ := p.Get(nil) // it never fails
	first := current.Leaf.NotAfter
	for _, der := range current.Certificate[1:] {
		if above, err := x509.ParseCertificate(der); err == nil && above.NotAfter.Before(first) {
			first = above.NotAfter
		}
	}
	return first
}

// reload reads the files and takes over a change. Handshakes wait meanwhile; the files are small.
func (p *Pair) reload() {
	now := p.read()
	if now.equal(p.lastRead) {
		return
	}
	p.lastRead = now
	renewed, err := p.parse(now)
	if err != nil {
		p.log.Error("cannot use the changed TLS certificate files; the previous certificate stays in use", "error", err)
		return
	}
	p.current = renewed
	p.log.Info("the TLS certificate has been reloaded", "file", p.certFile, "notAfter", renewed.Leaf.NotAfter.UTC())
	p.say(renewed, time.Now())
}
