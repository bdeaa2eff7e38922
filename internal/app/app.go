// Package app puts Herald together: it opens the store, starts the engine and
// the HTTP server, and stops all of it in order. What each part does lies in
// the part; how it is configured from a command line, in cmd/herald.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"herald/internal/api/unsubscribe"
	"herald/internal/catalogue"
	"herald/internal/certificate"
	"herald/internal/clientcache"
	"herald/internal/delivery"
	"herald/internal/egress"
	"herald/internal/intake"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/secret"
	"herald/internal/store"
	"herald/internal/webhook"
)

// Config is all that can be set. The zero values of Listen, DataDir and
// OperatorKeys do not work; the others do.
type Config struct {
	Listen string // host:port; port 0 takes a free one
	// TLSCert and TLSKey are files with the API's certificate chain and key in
	// PEM; both empty: the API speaks plain HTTP.
	TLSCert, TLSKey string
	DataDir         string
	// TrustedProxies are networks of proxies that are believed when they say
	// whom a request is from (X-Forwarded-For).
	TrustedProxies []netip.Prefix
	// RateLimit is how many requests a client may make within RateWindow on
	// this node; 0: any number.
	RateLimit  int
	RateWindow time.Duration
	// Database is the address of a PostgreSQL database that any number of
	// nodes share; empty: SQLite in DataDir.
	Database string
	// MigrateDatabase is where tables are made and changed, if not at Database
	// because a proxy stands there that pools transactions.
	MigrateDatabase string
	// NoMigrate refuses to start on tables that are not up to date.
	NoMigrate bool
	// Retention is how long history is kept; 0: 90 days. It must be longer than
	// a delivery can be pending.
	Retention time.Duration
	// NodeTimeout is how long a node may be silent before the others take over
	// what it holds; 0: 15 s.
	NodeTimeout time.Duration
	// OperatorKeys are the keys of the platform's operator, one or, while
	// they are being changed, two.
	OperatorKeys []string
	// SecretKeyFile holds the key that secrets are sealed with; empty: a file
	// in the data directory, made at the first start.
	SecretKeyFile string
	// AllowTargets are networks that receivers may lie in although they are
	// private, loopback or otherwise special.
	AllowTargets []netip.Prefix
	// DenyTargets are networks that receivers may not lie in, although they are
	// public or allowed.
	DenyTargets []netip.Prefix
	// AllowPorts are the ports that receivers may have outside of AllowTargets;
	// nil: 80, 443 and those from 1024 on.
	AllowPorts egress.Ports
	// EgressProxy makes connections to receivers; nil: they are made directly.
	EgressProxy *url.URL
	// RetrySchedule has the interval before each retry; nil: 20 s, 40 s, 60 s.
	RetrySchedule []time.Duration
	// RequestTimeout bounds an attempt from the look-up of the name to the
	// end of the response's headers; 0: 30 s.
	RequestTimeout time.Duration
	// MailServer takes mail for rules' mailboxes; nil: there is none, and such
	// deliveries fail.
	MailServer *mail.Server
	// MailFrom is the sender of mail.
	MailFrom netmail.Address
	// MailSchedule has the interval before each retry of a mail; nil: 1m, 5m,
	// 30m, 2h.
	MailSchedule []time.Duration
	// MailLimit is how many mails one mailbox gets of a client within
	// MailWindow before the others become a digest; 0: any number.
	MailLimit  int
	MailWindow time.Duration
	// PublicURL is where people reach the service, for links in mail.
	PublicURL string
	// ClientIDHeader names the header that tells receivers the client; empty:
	// X-Codat-ClientId.
	ClientIDHeader string
	// AmericanSpelling delivers "New company synchronized" with a z.
	AmericanSpelling bool
	// StopBudget bounds a stop; 0: the request timeout and 5 s.
	StopBudget time.Duration
	// DrainDelay is how long requests are still taken after readiness has gone,
	// so that balancers send them elsewhere; it is part of the budget.
	DrainDelay time.Duration
	Version    string
	Log        *slog.Logger
}

// SecretKeyFile is the key file's name in the data directory.
const SecretKeyFile = "secret.key"

// App is the running service.
type App struct {
	config  Config
	log     *slog.Logger
	store   *store.Store
	engine  *delivery.Engine
	sender  *webhook.Sender
	mailer  *mail.Sender
	server  *http.Server
	address net.Addr
	pair    *certificate.Pair // nil without TLS

	draining   atomic.Bool
	background sync.WaitGroup
	endTasks   context.CancelFunc
	failed     chan error
}

// Start starts the service; it accepts requests when Start returns.
func Start(ctx context.Context, c Config) (*App, error) {
	c.setDefaults()
	rules := policy.Rules(c.RetrySchedule)
	if c.Retention <= rules.MaxAge {
		return nil, fmt.Errorf("history is to be kept for %.4g days: it must be more than %.4g, which is how long a delivery can be pending with this retry schedule; raise --retention",
			c.Retention.Hours()/24, rules.MaxAge.Hours()/24)
	}
	a := &App{config: c, log: c.Log, failed: make(chan error, 1)}
	if err := a.loadCertificate(); err != nil {
		return nil, err
	}
	keyFile := c.SecretKeyFile
	if keyFile == "" {
		keyFile = filepath.Join(c.DataDir, SecretKeyFile)
	}
	box, err := secret.OpenBox(keyFile, c.SecretKeyFile == "")
	if err != nil {
		return nil, err
	}
	var clients *clientcache.Cache // the store tells it of changes
	a.store, err = store.Open(ctx, store.Options{
		Dir: c.DataDir, Database: c.Database, MigrateDatabase: c.MigrateDatabase, NoMigrate: c.NoMigrate,
		Retention: c.Retention, Box: box, Logger: c.Log,
		Changed: func(client uuid.UUID) { clients.Invalidate(client) },
	})
	if err != nil {
		return nil, err
	}
	if clients, err = clientcache.New(a.store, catalogue.Options{AmericanSpelling: c.AmericanSpelling}); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	guard := egress.New(egress.Options{Allow: c.AllowTargets, Deny: c.DenyTargets, Ports: c.AllowPorts, Proxy: c.EgressProxy})
	a.sender = webhook.New(webhook.Options{
		Guard: guard, Timeout: c.RequestTimeout, UserAgent: "Herald/" + c.Version, ClientIDHeader: c.ClientIDHeader, Logger: c.Log,
	})
	a.mailer, err = c.mailer(box)
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.engine = delivery.New(delivery.Options{
		Store: a.store, Nodes: a.store, Clients: clients, Sender: a.sender, Mailer: a.mailer,
		Digests: a.store, Digest: policy.Digest{Limit: c.MailLimit, Window: c.MailWindow},
		Policy: rules, MailPolicy: policy.Mail(c.MailSchedule), Log: c.Log, Metrics: registry, Random: rand.Float64,
		DeadAfter: c.NodeTimeout,
	})
	if err := a.engine.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the engine: %w", err), a.store.Close())
	}
	handler, err := a.handler(parts{
		guard: guard, clients: clients, registry: registry, box: box,
		intake:  intake.New(clients, a.store, a.engine, webhook.Origin),
		control: &delivery.Control{Engine: a.engine, History: a.store, Origin: webhook.Origin},
	})
	if err == nil {
		err = a.listen(ctx, handler, guard)
	}
	if err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	a.startMaintenance(&resealer{box: box, store: a.store, log: c.Log})
	return a, a.warnAboutMail(ctx)
}

// mailer makes what sends mail, with links that the box seals.
func (c *Config) mailer(box *secret.Box) (*mail.Sender, error) {
	mails := mail.Options{Server: c.MailServer, From: c.MailFrom, PublicURL: c.PublicURL, Timeout: c.RequestTimeout, Product: "Herald/" + c.Version}
	if c.PublicURL != "" {
		mails.Unsubscribe = func(client uuid.UUID, mailbox string) string {
			return strings.TrimSuffix(c.PublicURL, "/") + unsubscribe.Path + unsubscribe.Token(box, client, mailbox)
		}
	}
	return mail.New(mails)
}

// warnAboutMail tells whoever starts the service that it has rules which it cannot
// carry out.
func (a *App) warnAboutMail(ctx context.Context) error {
	if a.config.MailServer != nil {
		return nil
	}
	rules, err := a.store.RulesWithEmails(ctx)
	if err != nil || rules == 0 {
		return err
	}
	a.log.Warn("rules name mailboxes and no mail server is configured (--smtp): their mails fail", "rules", rules)
	return nil
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.RetrySchedule == nil {
		c.RetrySchedule = policy.RulesSchedule()
	}
	if c.Retention == 0 {
		c.Retention = store.DefaultRetention
	}
	if c.MailSchedule == nil {
		c.MailSchedule = policy.MailSchedule()
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.StopBudget == 0 {
		c.StopBudget = c.RequestTimeout + 5*time.Second
	}
}

// Failed receives an error when the service cannot go on.
func (a *App) Failed() <-chan error { return a.failed }

// Stop stops the service within its budget: readiness goes first and, after the
// drain delay, no request is taken any more; attempts under way end, what is left is handed
// back, and the database is closed.
func (a *App) Stop(ctx context.Context) error {
	a.log.Info("herald stops", "budget", a.config.StopBudget)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.StopBudget)
	defer cancel()
	a.draining.Store(true)
	var errs []error
	if a.server != nil {
		sleep(ctx, a.config.DrainDelay)
		errs = append(errs, a.endRequests(ctx))
	}
	// Some of the budget stays for writing down what is cut off.
	sending, cancel := context.WithTimeout(ctx, a.config.StopBudget-a.config.StopBudget/10)
	defer cancel()
	errs = append(errs, a.engine.Stop(sending))
	if a.endTasks != nil {
		a.endTasks()
		a.background.Wait()
	}
	a.sender.Close()
	a.mailer.Close()
	return errors.Join(append(errs, a.store.Close())...)
}

// Intervals of housekeeping.
const (
	maintenanceInterval = 5 * time.Second
	expireInterval      = 10 * time.Minute
	stepPause           = 10 * time.Millisecond // between two steps that found work
)

// startMaintenance runs, in small steps, the tasks that nobody waits for.
func (a *App) startMaintenance(r *resealer) {
	ctx, cancel := context.WithCancel(context.Background())
	a.endTasks = cancel
	for _, task := range []struct {
		name  string
		step  func(context.Context) (int, error)
		every time.Duration
	}{
		{"cancel the deliveries of deleted clients", a.store.CancelDeletedClients, maintenanceInterval},
		{"count alerts", a.store.Tally, maintenanceInterval},
		{"repair digests", a.store.RepairDigests, maintenanceInterval},
		{"delete expired idempotency keys", a.store.ExpireIdempotencyKeys, expireInterval},
		{"delete old history", a.store.Expire, expireInterval},
		{"delete old tallies", a.store.ExpireTallies, expireInterval},
		{"delete old marks of commits", a.store.ExpireMarks, expireInterval},
		{"delete old entries of the audit log", a.store.ExpireAuditLog, expireInterval},
		{"follow the secret key file", r.step, rereadInterval},
	} {
		a.background.Go(func() {
			for wait := task.every; sleep(ctx, wait); {
				n, err := task.step(ctx)
				wait = task.every
				switch {
				case err != nil && ctx.Err() == nil:
					a.log.Error(task.name, "error", err)
				case n > 0:
					wait = stepPause
				}
			}
		})
	}
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Migrate brings the tables of a database up to date without serving, and
// returns the names of the migrations that it applied.
func Migrate(ctx context.Context, dir, database string) ([]string, error) {
	return store.Migrate(ctx, store.Options{Dir: dir, Database: database})
}

// Check reads the whole embedded database in dir and returns what is wrong with it.
func Check(ctx context.Context, dir string) ([]string, error) { return store.Check(ctx, dir) }
