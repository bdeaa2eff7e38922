// Package certificate holds a TLS certificate that lies in two files, and takes
// a new one over when the files change, so that renewing needs no restart.
package certificate

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookInterval is how often the files are looked at, at most, while handshakes
// come in.
const lookInterval = time.Second

// Pair is a certificate chain and its key. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	held   *tls.Certificate
	looked time.Time
	// seen is what the files held when they were looked at last, or why they
	// could not be read; a pair that is of no use is told of once by it.
	seen contents
}

// contents is what the two files hold. They are compared instead of times of
// modification, because those stay when a link is turned to another directory
// (Kubernetes), and two changes may share one.
type contents struct {
	cert, key []byte
	trouble   string
}

func (c contents) equal(o contents) bool {
	return bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key) && c.trouble == o.trouble
}

// Load reads a chain and its key, both in PEM. An error names the files and
// what is wrong with them.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	p.seen = p.read()
	var err error
	p.held, err = p.parse(p.seen)
	return p, err
}

func (p *Pair) read() contents {
	cert, err := os.ReadFile(p.certFile)
	if err != nil {
		return contents{trouble: err.Error()}
	}
	key, err := os.ReadFile(p.keyFile)
	if err != nil {
		return contents{trouble: err.Error()}
	}
	return contents{cert: cert, key: key}
}

func (p *Pair) parse(c contents) (*tls.Certificate, error) {
	if c.trouble != "" {
		return nil, fmt.Errorf("TLS certificate: %s", c.trouble)
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with the key %s: %w", p.certFile, p.keyFile, err)
	}
	return &pair, nil
}

// Get returns the certificate for a handshake, as tls.Config.GetCertificate
// does. It never fails: while the files hold nothing that can be used, the
// certificate from before goes on.
func (p *Pair) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookInterval {
		p.looked = now
		p.look()
	}
	return p.held, nil
}

// look takes over what has changed. The files are small: handshakes wait for it.
func (p *Pair) look() {
	now := p.read()
	if now.equal(p.seen) {
		return
	}
	p.seen = now
	fresh, err := p.parse(now)
	if err != nil {
		p.log.Error("the TLS certificate's files have changed and cannot be used; the one from before is served", "error", err)
		return
	}
	p.held = fresh
	p.log.Info("the TLS certificate was renewed", "file", p.certFile, "notAfter", fresh.Leaf.NotAfter.UTC())
}
