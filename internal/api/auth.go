package api

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/secret"
)

// Keys finds API keys.
type Keys interface {
	// KeyByHash returns the key with a hash, CodeNotFound when there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error)
}

// KeyUses notes when clients' keys are used.
type KeyUses interface {
	// KeyUsed notes that a key is used now. It does not block.
	KeyUsed(key uuid.UUID)
}

// Auth authenticates requests by API key.
type Auth struct {
	keys      Keys
	uses      KeyUses // nil notes nothing
	operators []operator
	failures  prometheus.Counter
	guesses   Guesses
}

// operator is one of the operator's keys.
type operator struct{ hash, fingerprint [32]byte }

// NewAuth returns an Auth for the operator's keys and for the clients' keys that keys finds.
func NewAuth(keys Keys, operatorKeys []string) *Auth {
	a := &Auth{keys: keys, guesses: Guesses{Free: freeGuesses, Window: guessWindow, First: firstGuessDelay, Most: maxGuessDelay}, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "herald_unauthorized_total", Help: "Requests without a valid API key.",
	})}
	for _, key := range operatorKeys {
		a.operators = append(a.operators, operator{secret.HashAPIKey(key), secret.Fingerprint(key)})
	}
	return a
}

// WithUses makes the Auth note the uses of clients' keys. It returns the Auth, and must be called before its calls.
func (a *Auth) WithUses(u KeyUses) *Auth {
	a.uses = u
	return a
}

// Metric counts the requests without a valid key.
func (a *Auth) Metric() prometheus.Collector { return a.failures }

// Caller returns the caller of a request, by its Authorization header (spec section 2).
// The header is Basic with the base64 of the key alone, of "key:" or of ":key", or Bearer
// with the key. Any other header is CodeUnauthorized, or, after many of these from one
// address, CodeTooMany after a delay. CodeForbidden means that the key's role does not allow a
// request that changes data.
func (a *Auth) Caller(r *http.Request) (herald.Caller, error) {
	caller, err := a.caller(r)
	if herald.CodeOf(err) == herald.CodeUnauthorized {
		a.failures.Inc()
		if slowed := a.guesses.slow(r.Context(), CallerAddress(r.Context())); slowed != nil {
			return caller, slowed
		}
	}
	return caller, err
}

func (a *Auth) caller(r *http.Request) (herald.Caller, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return herald.Caller{}, unauthorized("Unauthorized: no API key. Send the header Authorization: Basic followed by the base64 of the key.")
	}
	key, ok := keyOf(header)
	if !ok {
		return herald.Caller{}, unauthorized("Unauthorized: the Authorization header has no API key in it. Send Basic followed by the base64 of the key, or Bearer and the key.")
	}
	caller, err := a.ByKey(r.Context(), key)
	if err != nil || caller.Operator {
		return caller, err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return caller, nil
	}
	// Checked here, so that no call that changes data can omit the check.
	return caller, caller.MayChange()
}

// ByKey returns the caller who has an API key, the operator's or a client's. The error is
// CodeUnauthorized for every other text.
func (a *Auth) ByKey(ctx context.Context, key string) (herald.Caller, error) {
	hash, by := secret.HashAPIKey(key), herald.Caller{Address: CallerAddress(ctx)}
	for i := range a.operators { // all of them, so that the time does not say which one it was
		if subtle.ConstantTimeCompare(hash[:], a.operators[i].hash[:]) == 1 {
			by.Operator, by.OperatorKey = true, a.operators[i].fingerprint
		}
	}
	if by.Operator {
		return by, nil
	}
	var err error
	by.Key, err = a.keys.KeyByHash(ctx, hash)
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound:
		return herald.Caller{}, unauthorized("Unauthorized: the API key is not known, or has been deleted.")
	case err != nil:
		return herald.Caller{}, err
	}
	setClient(ctx, by.Key.ClientID)
	if a.uses != nil {
		a.uses.KeyUsed(by.Key.ID)
	}
	return by, nil
}

// Reader returns the caller of a request by a mail's link, which needs no key.
func Reader(r *http.Request) herald.Caller { return herald.Caller{Address: CallerAddress(r.Context())} }

func unauthorized(text string) error { return herald.Errorf(herald.CodeUnauthorized, "%s", text) }

// keyOf returns the key in an Authorization header.
func keyOf(header string) (key string, ok bool) {
	scheme, rest, found := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !found || rest == "":
		return "", false
	case strings.EqualFold(scheme, "Bearer"):
		return rest, true
	case !strings.EqualFold(scheme, "Basic"):
		return "", false
	}
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
	if err != nil {
		return "", false
	}
	key = string(plain)
	if user, password, found := strings.Cut(key, ":"); found {
		if user != "" && password != "" {
			return "", false // a user and a password, which is no key
		}
		key = user + password
	}
	return key, key != ""
}
