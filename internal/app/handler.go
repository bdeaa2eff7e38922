package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"herald"
	"herald/internal/api"
	"herald/internal/api/codat"
	"herald/internal/api/native"
	"herald/internal/api/openapi"
	"herald/internal/api/unsubscribe"
	"herald/internal/api/welcome"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/delivery"
	"herald/internal/egress"
	"herald/internal/intake"
	"herald/internal/portal"
	"herald/internal/ratelimit"
	"herald/internal/secret"
)

// parts are what the APIs call.
type parts struct {
	guard     *egress.Guard
	clients   *clientcache.Cache
	registry  *prometheus.Registry
	box       *secret.Box
	intake    *intake.Intake
	explainer *intake.Explainer
	control   *delivery.Control
}

// handler puts both APIs on one mux, inside the middleware.
func (a *App) handler(p parts) (http.Handler, error) {
	mux := http.NewServeMux()
	keys := api.NewAuth(p.clients, a.config.OperatorKeys).WithUses(a.store)
	p.registry.MustRegister(keys.Metric())
	var auth codat.Authenticator = keys
	var publisher portal.Publisher = p.intake // of the portal, whose sessions do not come by auth
	if a.config.RateLimit > 0 {
		a.limitEvents = ratelimit.NewEvents(p.intake, hasRules(p.clients), a.log)
		limiter := ratelimit.New(auth, a.config.RateLimit, a.config.RateWindow).WithEvents(a.limitEvents)
		auth, publisher = limiter, limiter.Limited(p.intake)
	}
	codat.Register(mux, codat.Options{
		Auth: auth, Rules: a.store, Alerts: a.store, Profiles: a.store, Keys: a.store, Previewer: p.explainer,
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
		Auth: auth, Publisher: p.intake, Events: a.store, Explainer: p.explainer, Deliveries: a.store, Owners: a.store, Sender: p.control, Rules: a.store,
		Clients: a.store, Keys: a.store, Audit: a.store, Issues: a.store, Notifications: a.store, CheckURL: p.guard.CheckURL, Mailboxes: a.store, Backups: a.backups, EventTypes: a.store,
		PortalLinks: a.store, Sessions: a.store, PortalURL: a.portalURL(), Catalogue: p.clients.Catalogue, Ready: a.ready, Notice: a.notice, Mux: mux, API: described,
		SendsMail: a.config.MailServer != nil, Status: a.status, Statistics: a.store, Now: a.clock.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("register the API: %w", err)
	}
	mux.Handle("GET /deliveries/redeliver", api.NotAllowed{}) // GET /deliveries/{id} would take the word for an id
	unsubscribe.Register(mux, p.box, a.store)
	if err := a.registerPortal(mux, keys, publisher, p); err != nil {
		return nil, fmt.Errorf("register the portal: %w", err)
	}
	unsubscribe.RegisterConfirm(mux, p.box, confirmations{a.store, a.engine})
	if a.config.MetricsListen == "" {
		mux.Handle("GET /metrics", a.metrics(p.registry))
	}
	middleware := api.NewMiddleware(mux, a.log, p.registry, a.config.TrustedProxies...)
	middleware.Expect("POST /events", "none")
	if a.config.PublicURL != "" {
		public, err := url.Parse(a.config.PublicURL)
		if err == nil {
			err = middleware.TrustOrigin(public.Scheme + "://" + public.Host)
		}
		if err != nil {
			return nil, fmt.Errorf("public URL %.200q: %w", a.config.PublicURL, err)
		}
	}
	return a.closeWhileDraining(codat.AnyCase(middleware)), nil
}

// hasRules returns a function that reports whether a client has rules of an event type at present.
func hasRules(clients *clientcache.Cache) ratelimit.Rules {
	return func(ctx context.Context, client uuid.UUID, eventType string) (bool, error) {
		found, err := clients.Current(ctx, client)
		switch {
		case herald.CodeOf(err) == herald.CodeNotFound:
			return false, nil // it was deleted
		case err != nil:
			return false, err
		}
		return found.HasRules(ctx, eventType)
	}
}

// registerPortal puts the portal on the mux or, without it, the page for browsers at /.
func (a *App) registerPortal(mux *http.ServeMux, keys *api.Auth, publisher portal.Publisher, p parts) error {
	if a.config.NoPortal {
		welcome.Register(mux, a.config.Version)
		return nil
	}
	welcome.Redirect(mux, portal.Path)
	return portal.Register(mux, portal.Options{
		Keys: keys, Sessions: a.store, Deliveries: a.store, Sender: p.control, Events: a.store, Rules: a.store, Clients: a.store, Audit: a.store,
		Explainer: p.explainer, Inbox: a.config.Inbox, Publisher: publisher, Previewer: p.explainer, ReadData: native.ReadData, ExampleBody: intake.ExampleBody,
		Alerts: a.store, Profiles: a.store, APIKeys: a.store, Mailboxes: a.store, CheckURL: p.guard.CheckURL,
		Catalogue: p.clients.Catalogue, Secure: a.config.secure(), FrameAncestors: a.config.PortalFrameAncestors,
		Now: a.clock.Now, Version: a.config.Version,
		Live: a.live, Issues: a.store, Recoverer: p.control, Statistics: a.store, Notifications: a.store,
		Operator: portal.Operator{Views: a.store, Clients: a.store, EventTypes: a.store, Status: a.status, LinkURL: a.portalURL()},
	})
}

// portalURL returns what makes the addresses of portal links; nil without the portal.
func (a *App) portalURL() func(*http.Request, string) string {
	if a.config.NoPortal {
		return nil
	}
	public := strings.TrimSuffix(a.config.PublicURL, "/")
	return func(r *http.Request, secret string) string {
		base := public
		if base == "" { // the operator has reached the service at this address
			base = "http://" + r.Host
			if r.TLS != nil {
				base = "https://" + r.Host
			}
		}
		return base + portal.LinkPath + "#" + secret
	}
}

// issueLink returns where people see the deliveries of an issue; "" without a public URL.
func (c *Config) issueLink(i herald.Issue) string {
	base := strings.TrimSuffix(c.PublicURL, "/")
	switch {
	case base == "":
		return ""
	case c.NoPortal:
		return base + "/issues/" + i.ID.String()
	}
	return base + portal.Path + "clients/" + i.ClientID.String() + "/deliveries?" +
		url.Values{"receiver": {i.Receiver}, "reason": {string(i.Reason)}}.Encode()
}

// metrics answers with the metrics.
func (a *App) metrics(registry *prometheus.Registry) http.Handler {
	answer := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError)})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		answer.ServeHTTP(w, r)
	})
	return mux
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
	return a.store.Ready(ctx)
}
