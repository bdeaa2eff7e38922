package api_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

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
	client, operator := herald.Caller{Key: acme}, herald.Caller{Operator: true}
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
		{"operator", "Basic " + padded.EncodeToString([]byte(operatorKey)), operator},
		{"operator's second key", "Bearer " + formerKey, operator},
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
