package api_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/api"
	"herald/internal/secret"
)

// keys maps the hashes of clients' keys to the keys.
type keys map[[32]byte]herald.Key

func (k keys) KeyByHash(_ context.Context, hash [32]byte) (herald.Key, error) {
	key, ok := k[hash]
	if !ok {
		return key, herald.Errorf(herald.CodeNotFound, "No API key was found")
	}
	return key, nil
}

const (
	clientKey   = "hkclient7"
	operatorKey = "hkoperator"
	formerKey   = "hkoperatorbefore"
)

var acme = herald.Key{ID: uuid.New(), ClientID: uuid.New(), Name: "acme"}

func newAuth() *api.Auth {
	return api.NewAuth(keys{secret.HashAPIKey(clientKey): acme}, []string{operatorKey, formerKey})
}

func withHeader(header string) *http.Request {
	r := httptest.NewRequest("GET", "/rules", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return r
}

func TestKeyIsTakenInEveryForm(t *testing.T) {
	padded, bare := base64.StdEncoding, base64.RawStdEncoding
	client := herald.Caller{Key: acme}
	operator := func(key string) herald.Caller {
		return herald.Caller{Operator: true, OperatorKey: secret.Fingerprint(key)}
	}
	for _, test := range []struct {
		name, header string
		want         herald.Caller
	}{
		{"the key alone", "Basic " + padded.EncodeToString([]byte(clientKey)), client},
		{"as a user", "Basic " + padded.EncodeToString([]byte(clientKey+":")), client},
		{"as a password", "Basic " + padded.EncodeToString([]byte(":"+clientKey)), client},
		{"as a user, not padded", "Basic " + bare.EncodeToString([]byte(clientKey+":")), client},
		{"as a password, not padded", "Basic " + bare.EncodeToString([]byte(":"+clientKey)), client},
		{"scheme in lower case", "basic " + padded.EncodeToString([]byte(clientKey)), client},
		{"scheme in upper case", "BASIC  " + padded.EncodeToString([]byte(clientKey)) + " ", client},
		{"bearer", "Bearer " + clientKey, client},
		{"bearer in lower case", "bearer " + clientKey, client},
		{"operator", "Basic " + padded.EncodeToString([]byte(operatorKey)), operator(operatorKey)},
		{"operator's second key", "Bearer " + formerKey, operator(formerKey)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := newAuth().Caller(withHeader(test.header))
			if err != nil || got != test.want {
				t.Errorf("%q: %+v, %v; want %+v", test.header, got, err, test.want)
			}
		})
	}
}

// TestNoKeyIsUnauthorized is check B5 with more cases.
func TestNoKeyIsUnauthorized(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	for name, header := range map[string]string{
		"no header":                "",
		"scheme alone":             "Basic",
		"scheme and blanks":        "Basic   ",
		"no scheme":                clientKey,
		"another scheme":           "Digest " + encode([]byte(clientKey)),
		"not base64":               "Basic !" + clientKey,
		"the key itself":           "Basic " + clientKey,
		"base64 of nothing":        "Basic ====",
		"a colon alone":            "Basic " + encode([]byte(":")),
		"user and password":        "Basic " + encode([]byte("acme:"+clientKey)),
		"a colon in the key":       "Basic " + encode([]byte(clientKey[:4]+":"+clientKey[4:])),
		"colons on both sides":     "Basic " + encode([]byte(":"+clientKey+":")),
		"another key":              "Bearer " + clientKey + "x",
		"the key in another case":  "Bearer " + strings.ToUpper(clientKey),
		"the key cut short":        "Bearer " + clientKey[:len(clientKey)-1],
		"base64 as a bearer token": "Bearer " + encode([]byte(clientKey)),
		"operator's key cut short": "Bearer " + operatorKey[:len(operatorKey)-1],
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newAuth().Caller(withHeader(header))
			if herald.CodeOf(err) != herald.CodeUnauthorized || got != (herald.Caller{}) {
				t.Errorf("%q: %+v, %v, want CodeUnauthorized", header, got, err)
			}
			if err != nil && strings.Contains(err.Error(), clientKey[:len(clientKey)-1]) {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
}

func TestNoOperatorKeyMeansNoOperator(t *testing.T) {
	auth := api.NewAuth(keys{}, nil)
	if caller, err := auth.Caller(withHeader("Bearer " + operatorKey)); herald.CodeOf(err) != herald.CodeUnauthorized {
		t.Errorf("%+v, %v, want CodeUnauthorized", caller, err)
	}
}

// unavailableKeys is a store that cannot be read.
type unavailableKeys struct{}

var errUnavailable = &herald.Error{Code: herald.CodeUnavailable, Message: "The database does not take requests right now."}

func (unavailableKeys) KeyByHash(context.Context, [32]byte) (herald.Key, error) {
	return herald.Key{}, errUnavailable
}

func TestKeyThatCannotBeLookedUpIsNotCalledWrong(t *testing.T) {
	auth := api.NewAuth(unavailableKeys{}, []string{operatorKey})
	if _, err := auth.Caller(withHeader("Bearer " + clientKey)); !errors.Is(err, errUnavailable) {
		t.Errorf("error %v, want %v", err, errUnavailable)
	}
	if caller, err := auth.Caller(withHeader("Bearer " + operatorKey)); err != nil || !caller.Operator {
		t.Errorf("the operator's key needs no database: %+v, %v", caller, err)
	}
}

func FuzzCaller(f *testing.F) {
	for _, header := range []string{"", "Basic", "Basic aGs6", "basic OmhrCg", "Bearer x", "Bearer  ", "Basic\t=", "Basic ==", "é é"} {
		f.Add(header)
	}
	auth := newAuth()
	f.Fuzz(func(t *testing.T, header string) {
		caller, err := auth.Caller(withHeader(header))
		if err != nil {
			if herald.CodeOf(err) != herald.CodeUnauthorized || caller != (herald.Caller{}) {
				t.Errorf("%q: %+v, %v", header, caller, err)
			}
			return
		}
		// Every accepted header has a key in it, in plain text or in base64.
		_, credentials, _ := strings.Cut(header, " ")
		plain, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(credentials), "="))
		for _, key := range []string{clientKey, operatorKey, formerKey} {
			if strings.Contains(credentials, key) || strings.Contains(string(plain), key) {
				return
			}
		}
		t.Errorf("%q is let in as %+v", header, caller)
	})
}

// guessing is an Auth behind the Middleware.
type guessing struct {
	*api.Auth
	handler http.Handler
	code    herald.Code // of the last call's error
}

func newGuessing() *guessing {
	g := &guessing{Auth: newAuth()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rules", func(_ http.ResponseWriter, r *http.Request) {
		g.code = ""
		if _, err := g.Caller(r); err != nil {
			g.code = herald.CodeOf(err)
		}
	})
	g.handler = api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil)
	return g
}

// from calls with a header from an address. It returns the code of the error, and how long the
// call took.
func (g *guessing) from(address, header string) (herald.Code, time.Duration) {
	r := withHeader(header)
	r.RemoteAddr = address
	at := time.Now()
	g.handler.ServeHTTP(httptest.NewRecorder(), r)
	return g.code, time.Since(at)
}

// TestWrongKeysAreSlowedByAddress: they are counted, answered later and later, and then told to
// wait; a valid key is served as before, from any address.
func TestWrongKeysAreSlowedByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newGuessing()
		registry := prometheus.NewRegistry()
		registry.MustRegister(auth.Metric())
		codes := make(map[herald.Code]int)
		var total, last time.Duration
		for range 50 {
			code, took := auth.from("192.0.2.1:1234", "Bearer wrong")
			codes[code]++
			total += took
			last = took
		}
		if codes[herald.CodeUnauthorized] == 0 || codes[herald.CodeTooMany] < 10 || total < 10*time.Second || last < time.Second || last > 5*time.Second {
			t.Errorf("fifty wrong keys: %v in %v, the last in %v", codes, total, last)
		}
		for _, address := range []string{"192.0.2.1:99", "192.0.2.2:99", "[2001:db8::1]:99"} {
			if code, took := auth.from(address, "Bearer "+clientKey); code != "" || took != 0 {
				t.Errorf("a valid key from %s: %q after %v", address, code, took)
			}
		}
		if code, took := auth.from("192.0.2.2:99", "Bearer wrong"); code != herald.CodeUnauthorized || took != 0 {
			t.Errorf("another address: %q after %v", code, took)
		}
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() != 51 {
			t.Errorf("%v, %v, want 51 requests", families, err)
		}
		time.Sleep(2 * time.Minute) // the bubble's
		if code, took := auth.from("192.0.2.1:1", "Bearer wrong"); code != herald.CodeUnauthorized || took != 0 {
			t.Errorf("after the window: %q after %v", code, took)
		}
	})
}

// TestGuessersAreBounded: one network of IPv6 is one guesser, and many networks take no more
// memory than the bound.
func TestGuessersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newGuessing()
		var last herald.Code
		for i := range 40 {
			last, _ = auth.from(fmt.Sprintf("[2001:db8::%x]:1", i+1), "Bearer wrong")
		}
		if last != herald.CodeTooMany {
			t.Errorf("forty addresses of one network: %q", last)
		}
		slowed := 0
		for i := range 10_050 { // those beyond the bound share a count
			if last, _ = auth.from(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), ""); last == herald.CodeTooMany {
				slowed++
			}
		}
		if slowed == 0 {
			t.Error("none of many addresses was slowed")
		}
		if code, _ := auth.from("10.0.255.255:1", "Bearer "+clientKey); code != "" {
			t.Errorf("a valid key: %q", code)
		}
	})
}
