// Package unsubscribe serves a mail's unsubscribe link: a page with a button, and the
// button's POST, which mail programs may also make (RFC 8058). There is no login. The
// link's token authorizes the request, and only the service can make a token. confirm.go has
// the link by which a mailbox confirms that it takes mail.
package unsubscribe

import (
	"context"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/secret"
)

// Path is the start of a link's path; the token follows.
const Path = "/unsubscribe/"

// purpose distinguishes tokens from other sealed values.
var purpose = []byte("unsubscribe")

// Store stores which mailboxes get no more mail of a client.
type Store interface {
	// Unsubscribe stops a client's mail to a mailbox; CodeNotFound when there
	// is no such client.
	Unsubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error
}

// Token returns the token that allows its bearer to stop a client's mail to a mailbox. It is
// sealed, so it reveals nothing and cannot be guessed.
func Token(box *secret.Box, client uuid.UUID, mailbox string) string {
	return token(box, purpose, client, mailbox)
}

func token(box *secret.Box, purpose []byte, client uuid.UUID, mailbox string) string {
	return base64.RawURLEncoding.EncodeToString(box.Seal(append(client[:], mailbox...), purpose))
}

var errToken = errors.New("not a token of this service")

func open(box *secret.Box, purpose []byte, token string) (client uuid.UUID, mailbox string, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return client, "", errToken
	}
	plain, err := box.Open(sealed, purpose)
	if err != nil || len(plain) <= len(client) {
		return client, "", errToken
	}
	return uuid.UUID(plain[:len(client)]), string(plain[len(client):]), nil
}

// Register adds the page and its POST to mux. Over the limits both answer 429.
func Register(mux *http.ServeMux, box *secret.Box, store Store) {
	link{
		path: Path, purpose: purpose, change: store.Unsubscribe,
		ask: func(mailbox string) page {
			return page{Title: "Stop these mails?", Text: "No more alerts will be sent to " + mailbox + ".", Button: "Stop mails"}
		},
		done: func(mailbox string) page {
			return page{Title: "Mails are stopped", Text: "No more alerts are sent to " + mailbox + ". Whoever set them up can start them again."}
		},
	}.register(mux, box)
}

// link is a kind of link that mails have: its token names a client and a mailbox.
type link struct {
	path      string // its start; the token follows
	purpose   []byte
	ask, done func(mailbox string) page
	change    func(ctx context.Context, by herald.Caller, client uuid.UUID, mailbox string) error
}

// register adds the link's page and its POST to mux. Nobody has to log in for them, so they have limits.
func (l link) register(mux *http.ServeMux, box *secret.Box) {
	var limits limiter
	limited := func(fn http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := limits.take(addressKey(api.CallerAddress(r.Context())), perAddress); err != nil {
				api.WriteError(w, r, err)
				return
			}
			fn(w, r)
		}
	}
	notValid := page{Title: "This link is not valid", Text: "Open it from the mail again, in full."}
	mux.HandleFunc("GET "+l.path+"{token}", limited(func(w http.ResponseWriter, r *http.Request) {
		// Mail scanners follow links, so a GET changes nothing.
		if _, mailbox, err := open(box, l.purpose, r.PathValue("token")); err != nil {
			show(w, http.StatusNotFound, notValid)
		} else {
			show(w, http.StatusOK, l.ask(mailbox))
		}
	}))
	mux.HandleFunc("POST "+l.path+"{token}", limited(func(w http.ResponseWriter, r *http.Request) {
		client, mailbox, err := open(box, l.purpose, r.PathValue("token"))
		if err == nil {
			err = limits.take(mailboxKey(client, mailbox), perMailbox)
		}
		if err == nil {
			err = l.change(r.Context(), api.Reader(r), client, mailbox)
		}
		switch {
		case err == nil:
			show(w, http.StatusOK, l.done(mailbox))
		case errors.Is(err, errToken), herald.CodeOf(err) == herald.CodeNotFound:
			show(w, http.StatusNotFound, notValid)
		default:
			api.WriteError(w, r, err)
		}
	}))
}

// page has the template's values.
type page struct{ Title, Text, Button string }

var html = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
</head>
<body style="margin:0;padding:32px 16px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff">
<main style="max-width:480px;margin:0 auto">
<h1 style="font-size:24px">{{.Title}}</h1>
<p style="overflow-wrap:anywhere">{{.Text}}</p>
{{if .Button}}<form method="post"><button style="font:inherit;padding:8px 16px">{{.Button}}</button></form>{{end}}
</main>
</body>
</html>
`))

func show(w http.ResponseWriter, status int, p page) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // the address holds the token; no-referrer would hide the button's origin too
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = html.Execute(w, p) // fails only when the reader has gone
}
