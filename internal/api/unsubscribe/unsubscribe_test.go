package unsubscribe_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/api/unsubscribe"
	"herald/internal/secret"
)

// kinds are the kinds of links.
var kinds = map[string]struct {
	path     string
	token    func(*secret.Box, uuid.UUID, string) string
	register func(*http.ServeMux, *secret.Box, *calls)
}{
	"unsubscribe": {unsubscribe.Path, unsubscribe.Token, func(m *http.ServeMux, b *secret.Box, c *calls) { unsubscribe.Register(m, b, c) }},
	"confirm":     {unsubscribe.ConfirmPath, unsubscribe.ConfirmToken, func(m *http.ServeMux, b *secret.Box, c *calls) { unsubscribe.RegisterConfirm(m, b, c) }},
}

// calls is a Store that counts the calls.
type calls int

func (c *calls) Unsubscribe(context.Context, herald.Caller, uuid.UUID, string) error {
	*c++
	return nil
}

func (c *calls) Confirm(context.Context, herald.Caller, uuid.UUID, string) error {
	*c++
	return nil
}

// TestLinkIsLimited: a mailbox can be unsubscribed a few times in a minute, and an address can make
// some hundred requests. Others are not affected, and a minute later all is as before.
func TestLinkIsLimited(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var store calls
				box := secret.NewBox(secret.Key{1})
				mux := http.NewServeMux()
				kind.register(mux, box, &store)
				handler := api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil)
				call := func(method, address, path string) *httptest.ResponseRecorder {
					r := httptest.NewRequest(method, path, nil)
					r.RemoteAddr = address
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					return w
				}
				post := func(host int, mailbox string) *httptest.ResponseRecorder {
					// Each token is another one.
					return call(http.MethodPost, fmt.Sprintf("192.0.2.%d:1", host), kind.path+kind.token(box, uuid.UUID{1}, mailbox))
				}
				want := func(what string, got *httptest.ResponseRecorder, status int) {
					t.Helper()
					if got.Code != status {
						t.Errorf("%s: status %d, want %d", what, got.Code, status)
					}
					if after, err := strconv.Atoi(got.Header().Get("Retry-After")); status == http.StatusTooManyRequests && (err != nil || after < 1 || after > 60) {
						t.Errorf("%s: Retry-After %q, want up to 60 s", what, got.Header().Get("Retry-After"))
					}
				}
				for n := range 10 {
					want("a first post", post(n, "ann@acme.example"), 200)
				}
				want("one more for the mailbox", post(99, "Ann@acme.example"), 429)
				if store != 10 {
					t.Errorf("%d calls of the store, want 10", store)
				}
				want("another mailbox", post(99, "bob@acme.example"), 200)
				for range 600 {
					call(http.MethodGet, "[2001:db8::1]:1", kind.path+"no-token")
				}
				want("one more from the address", call(http.MethodGet, "[2001:db8::1]:1", kind.path+"no-token"), 429)
				want("one from its network", call(http.MethodGet, "[2001:db8::2]:1", kind.path+"no-token"), 429)
				want("another address", call(http.MethodGet, "[2001:db8:0:1::1]:1", kind.path+"no-token"), 404)
				time.Sleep(time.Minute)
				want("a minute later", post(99, "ann@acme.example"), 200)
				want("a minute later", call(http.MethodGet, "[2001:db8::1]:1", kind.path+"no-token"), 404)
			})
		})
	}
}

// TestCountsOfLinksAreBounded: beyond ten thousand addresses the others share one count.
func TestCountsOfLinksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		unsubscribe.Register(mux, secret.NewBox(secret.Key{1}), new(calls))
		handler := api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil)
		refused := 0
		for n := range 10_000 + 700 {
			r := httptest.NewRequest(http.MethodGet, unsubscribe.Path+"no-token", nil)
			r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", n/256, n%256)
			w := httptest.NewRecorder()
			if handler.ServeHTTP(w, r); w.Code == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 100 {
			t.Errorf("%d of 700 requests beyond the bound are refused, want 100", refused)
		}
	})
}
