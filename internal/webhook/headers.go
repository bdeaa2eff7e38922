package webhook

import (
	"bytes"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/net/http/httpguts"

	"herald/internal/secret"
)

// maxHeaders bounds how many headers are remembered.
const maxHeaders = 1024

// headersOf is what the headers of a request depend on, beside the options.
type headersOf struct {
	client        uuid.UUID
	authorization string
	test          bool
}

// headers are those of a request, the same on every hop. Attempts share them, so nobody changes them.
type headers struct {
	sent http.Header
	// wire is sent as HTTP/1.1 has it, to the empty line at the end. It lacks User-Agent, which net/http
	// writes before Content-Length.
	wire     []byte
	legal    bool              // no value has a character that no header may have
	recorded map[string]string // with the Authorization header masked
	mask     secret.Mask       // of the Authorization header
}

// headers returns the headers of a request. They are remembered, because to make them and their mask takes
// longer than to use them.
func (s *Sender) headers(of headersOf) *headers {
	if known, has := s.known.headers.get(of); has {
		return known
	}
	made := s.makeHeaders(of)
	if len(of.authorization) <= maxMadeFrom {
		s.known.headers.set(of, made)
	}
	return made
}

// makeHeaders must never add Idempotency-Key or X-Idempotency-Key: with those, net/http itself repeats a
// POST.
func (s *Sender) makeHeaders(of headersOf) *headers {
	h := http.Header{
		"Content-Type": {"application/json; charset=utf-8"},
		"User-Agent":   {s.UserAgent},
		"Accept":       {"*/*"}, // some firewalls refuse a request without it
	}
	h[s.ClientIDHeader] = []string{of.client.String()} // in the vendor's upper and lower case, which Set would change
	if of.authorization != "" {
		h["Authorization"] = []string{of.authorization}
	}
	if of.test {
		h[TestHeader] = []string{"true"}
	}
	made := &headers{sent: h, legal: httpguts.ValidHeaderFieldValue(of.authorization), recorded: make(map[string]string, len(h)), mask: secret.NewMask(of.authorization)}
	for name, values := range h {
		made.recorded[name] = values[0]
	}
	if of.authorization != "" {
		made.recorded["Authorization"] = secret.MaskAuthorization(of.authorization)
	}
	var wire bytes.Buffer
	_ = h.WriteSubset(&wire, map[string]bool{"User-Agent": true}) // a buffer takes all
	wire.WriteString("\r\n")
	made.wire = wire.Bytes()
	return made
}
