package app

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"herald"
	"herald/internal/api"
	"herald/internal/api/codat"
	"herald/internal/api/native"
	"herald/internal/api/openapi"
	"herald/internal/api/unsubscribe"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/delivery"
	"herald/internal/egress"
	"herald/internal/intake"
	"herald/internal/ratelimit"
	"herald/internal/secret"
)

// parts are what the APIs call.
type parts struct {
	guard    *egress.Guard
	clients  *clientcache.Cache
	registry *prometheus.Registry
	box      *secret.Box
	intake   *intake.Intake
	control  *delivery.Control
}

// handler puts both APIs on one mux, inside the middleware.
func (a *App) handler(p parts) (http.Handler, error) {
	mux := http.NewServeMux()
	var auth codat.Authenticator = api.NewAuth(p.clients, a.config.OperatorKeys)
	if a.config.RateLimit > 0 {
		auth = ratelimit.New(auth, a.config.RateLimit, a.config.RateWindow)
	}
	codat.Register(mux, codat.Options{
		Auth: auth, Rules: a.store, Alerts: a.store, Profiles: a.store, Keys: a.store,
		Catalogue: p.clients.Catalogue, CheckURL: p.guard.CheckURL,
	})
	described := openapi.New(mux, a.config.Version)
	codat.Describe(described.OpenAPI())
	builtIn, err := catalogue.New(nil, catalogue.Options{AmericanSpelling: a.config.AmericanSpelling})
	if err != nil {
		return nil, fmt.Errorf("built-in event types: %w", err)
	}
	codat.DescribeWebhooks(described.OpenAPI(), builtIn.Types())
	err = native.Register(native.Options{
		Auth: auth, Publisher: p.intake, Events: a.store, Deliveries: a.store, Sender: p.control, Rules: a.store,
		Clients: a.store, Keys: a.store, Audit: a.store, Mailboxes: a.store, Backups: a.backups, EventTypes: a.store, Catalogue: p.clients.Catalogue, Ready: a.ready, API: described,
		SendsMail: a.config.MailServer != nil,
	})
	if err != nil {
		return nil, fmt.Errorf("register the API: %w", err)
	}
	unsubscribe.Register(mux, p.box, a.store)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}))
	return a.closeWhileDraining(api.NewMiddleware(mux, a.log, p.registry, a.config.TrustedProxies...)), nil
}

// closeWhileDraining closes connections after their next response once the service stops, so that
// clients leave before the listener closes.
func (a *App) closeWhileDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ready returns an error if requests should go to other nodes.
func (a *App) ready(ctx context.Context) error {
	if a.draining.Load() {
		return herald.Errorf(herald.CodeUnavailable, "The service is stopping.")
	}
	return a.store.Ping(ctx)
}
