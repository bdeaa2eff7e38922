// Package welcome answers a browser that opens the service's address: it leads to the portal or,
// where that is switched off, shows one page that says what is here and where to go on. Everybody else gets the error of an unknown
// path, as from any other path that has no call.
package welcome

import (
	"html/template"
	"net/http"
	"strings"

	"herald"
	"herald/internal/api"
)

// Register puts the page on mux.
func Register(mux *http.ServeMux, version string) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !acceptsHTML(r.Header.Get("Accept")) {
			api.WriteError(w, r, nothingHere())
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		_ = page.Execute(w, version) // fails only when the reader has gone
	})
}

// Redirect sends browsers from / to a page instead.
func Redirect(mux *http.ServeMux, to string) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !acceptsHTML(r.Header.Get("Accept")) {
			api.WriteError(w, r, nothingHere())
			return
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	})
}

func nothingHere() error {
	return herald.Errorf(herald.CodeNotFound, "There is nothing at /. GET /openapi.json lists what there is.")
}

// acceptsHTML reports whether a browser asks: it names text/html, which programs that
// accept anything do not.
func acceptsHTML(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), "text/html") {
			return true
		}
	}
	return false
}

var page = template.Must(template.New("welcome").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Herald</title>
<style>
body { margin: 0; padding: 48px 16px; font: 16px/1.5 system-ui, sans-serif; color: #1a1d21; background: #fff }
main { max-width: 560px; margin: 0 auto }
h1 { margin: 0 0 8px; font-size: 24px }
p { margin: 0 0 16px }
dl { margin: 24px 0; display: grid; grid-template-columns: max-content 1fr; gap: 8px 24px }
dt, dd { margin: 0 }
a { color: #1d5bbf }
code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
small { color: #4a5563 }
@media (max-width: 480px) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: 12px } }
@media (prefers-color-scheme: dark) {
  body { color: #e6e9ed; background: #14171a }
  a { color: #8fb8ff }
  small { color: #b3bcc7 }
}
</style>
</head>
<body>
<main>
<h1>Herald is running</h1>
<p>Herald tells people's systems when something happened. This address is an API. Programs call it with an API key.</p>
<dl>
<dt><a href="/readyz">/readyz</a></dt><dd>whether it can serve</dd>
<dt><a href="/openapi.json">/openapi.json</a></dt><dd>all calls (OpenAPI 3.1)</dd>
<dt><a href="/metrics">/metrics</a></dt><dd>measurements, for Prometheus</dd>
</dl>
<p>From a terminal, with your API key in <code>HERALD_API_KEY</code>:</p>
<p><code>herald deliveries list</code></p>
<p><small>Version {{.}}</small></p>
</main>
</body>
</html>
`))
