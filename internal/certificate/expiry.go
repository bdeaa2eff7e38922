package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

const (
	// warnBefore is how long before a certificate ends its end is said: ACME clients renew thirty days
	// before, so at fourteen days something is wrong.
	warnBefore = 14 * 24 * time.Hour
	// warnEvery is the time between two log lines about the same certificate.
	warnEvery = 24 * time.Hour
)

// Watch logs what is wrong with the dates of the certificate: now, and every day until ctx ends. It reads
// changed files, even if there are no handshakes.
func (p *Pair) Watch(ctx context.Context) {
	ticker := time.NewTicker(warnEvery)
	defer ticker.Stop()
	for {
		current, _ := p.Get(nil) // it never fails
		p.say(current, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *Pair) say(chain *tls.Certificate, now time.Time) {
	switch text, refused := trouble(chain, now); {
	case refused:
		p.log.Error(text, "file", p.certFile)
	case text != "":
		p.log.Warn(text, "file", p.certFile)
	}
}

// Trouble says what is wrong with the dates of the present certificate at a time, or "". refused says
// that callers do not accept the certificate.
func (p *Pair) Trouble(now time.Time) (text string, refused bool) {
	current, _ := p.Get(nil) // it never fails
	return trouble(current, now)
}

// trouble looks at the chain. Of its certificates only the first is surely used by every caller: of the
// others, callers may leave out an expired one and find another way to a root that they trust.
func trouble(chain *tls.Certificate, now time.Time) (text string, refused bool) {
	if text := datesOf(chain.Leaf, now); text != "" {
		return "the TLS certificate of the API " + text, now.After(chain.Leaf.NotAfter) || now.Before(chain.Leaf.NotBefore)
	}
	for _, der := range chain.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Sprintf("a certificate in the chain of the API's TLS certificate cannot be read: %v", err), false
		}
		if text := datesOf(issuer, now); text != "" {
			return fmt.Sprintf("the certificate %.100q in the chain of the API's TLS certificate %s", issuer.Subject.CommonName, text), false
		}
	}
	return "", false
}

// datesOf says what is wrong with a certificate's dates, after its name.
func datesOf(c *x509.Certificate, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("expired at %s: callers refuse it; renew it", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("is not valid before %s: callers refuse it; check the clock, or use another", c.NotBefore.UTC().Format(time.RFC3339))
	case c.NotAfter.Sub(now) <= warnBefore:
		return fmt.Sprintf("expires at %s, in %d days: renew it", c.NotAfter.UTC().Format(time.RFC3339), int(c.NotAfter.Sub(now)/(24*time.Hour)))
	}
	return ""
}
