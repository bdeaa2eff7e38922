package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/api"
	"herald/internal/certificate"
	"herald/internal/egress"
)

// Bounds of a connection to the API. They limit how long a slow caller can occupy a connection and
// the memory of what it has sent.
const (
	// headerTimeout bounds a request's headers, and the TLS handshake.
	headerTimeout = 10 * time.Second
	// readTimeout bounds a whole request: the largest publish, 16 MiB, takes about a minute at 2
	// Mbit/s.
	readTimeout = time.Minute
	// writeTimeout bounds reading, handling and answering a request, such as a page of 5,000 alerts
	// at 2 Mbit/s.
	writeTimeout = 3 * time.Minute
	idleTimeout  = 2 * time.Minute
	maxHeaders   = 64 << 10 // bytes
)

// loadCertificate reads the certificate of the API, if one is configured.
func (a *App) loadCertificate() (err error) {
	c := a.config
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil
	case c.TLSCert == "" || c.TLSKey == "":
		return errors.New("TLS needs a certificate and its key: give both files, or none")
	}
	a.pair, err = certificate.Load(c.TLSCert, c.TLSKey, a.log)
	return err
}

func (a *App) listen(ctx context.Context, handler http.Handler, guard *egress.Guard, r prometheus.Registerer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", a.config.Listen, err)
	}
	a.address = listener.Addr()
	guard.DenyOwn(a.address)
	bounded := newConnections(listener, a.mostConnections(), a.config.TrustedProxies, r)
	a.server = a.newServer(refuseAmbiguousLength(handler))
	a.server.ConnState = bounded.follow
	a.server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	serve := a.server.Serve
	if a.pair != nil {
		a.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: a.pair.Get}
		serve = func(l net.Listener) error { return a.server.ServeTLS(l, "", "") }
	}
	go func() {
		if err := serve(bounded); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	return nil
}

// newServer returns a server with the bounds above. What net/http has to say goes to the log.
func (a *App) newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// listenForMetrics serves the metrics, and nothing else, at an address of their own.
func (a *App) listenForMetrics(ctx context.Context, handler http.Handler, guard *egress.Guard) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.MetricsListen)
	if err != nil {
		return fmt.Errorf("metrics listen address %q: %w", a.config.MetricsListen, err)
	}
	a.metricsAddress = listener.Addr()
	guard.DenyOwn(a.metricsAddress)
	a.metricsServer = a.newServer(handler)
	go func() {
		if err := a.metricsServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve metrics: %w", err)
		}
	}()
	return nil
}

// MetricsAddress returns where the metrics are, host:port.
func (a *App) MetricsAddress() string {
	if a.metricsAddress == nil {
		return a.Address()
	}
	return a.metricsAddress.String()
}

// connectionKey is the context key of a request's connection.
type connectionKey struct{}

// refuseAmbiguousLength refuses a request with both Content-Length and Transfer-Encoding, and
// closes its connection: what follows on it may be a part of the body or another request.
func refuseAmbiguousLength(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connectionKey{}).(*connection)
		if ok && len(r.TransferEncoding) > 0 && c.hasLength.Load() {
			w.Header().Set("Connection", "close")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			api.WriteError(w, r, herald.Invalid("Content-Length", "The request has both Content-Length and Transfer-Encoding; send one of them."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// endRequests accepts no more requests and lets those under way end. A request that is still
// arriving could take a minute. So it is cut off after a part of the budget, because attempts under
// way need the rest.
func (a *App) endRequests(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(5*time.Second, a.config.StopBudget/4))
	defer cancel()
	if a.profileServer != nil {
		defer a.profileServer.Close() //nolint:errcheck // it has nothing to lose
	}
	if a.metricsServer != nil {
		defer a.metricsServer.Close() //nolint:errcheck // it has nothing to lose
	}
	err := a.server.Shutdown(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	a.log.Warn("the service cuts off requests that have not ended")
	return a.server.Close()
}

// Address returns where the API listens, host:port.
func (a *App) Address() string { return a.address.String() }

// URL returns where the API listens, with the scheme.
func (a *App) URL() string {
	if a.pair != nil {
		return "https://" + a.Address()
	}
	return "http://" + a.Address()
}
