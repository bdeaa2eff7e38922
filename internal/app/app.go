// Package app assembles Herald. It opens the store, starts the engine and the HTTP server, runs
// maintenance, and stops all of it in order. cmd/herald reads the configuration from the command
// line.
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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"herald"
	"herald/internal/api/unsubscribe"
	"herald/internal/catalogue"
	"herald/internal/certificate"
	"herald/internal/clientcache"
	"herald/internal/clock"
	"herald/internal/delivery"
	"herald/internal/egress"
	"herald/internal/intake"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/secret"
	"herald/internal/store"
	"herald/internal/webhook"
)

// Config is the configuration of the service. Listen, DataDir and OperatorKeys must be set. The
// zero values of the other members work.
type Config struct {
	Listen string // host:port; port 0 takes a free one
	// TLSCert and TLSKey are files with the certificate chain and the key of the API, in PEM. If
	// both are empty, the API speaks plain HTTP.
	TLSCert, TLSKey string
	// MetricsListen is an address host:port for the metrics alone; empty means that the API has
	// them.
	MetricsListen string
	// MaxConnections bounds the open connections to the API; 0 means what the process's limit of
	// descriptors leaves beside the database and sending.
	MaxConnections int
	DataDir        string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header is believed.
	TrustedProxies []netip.Prefix
	// RateLimit is how many requests a client may make within RateWindow on this node; 0 means any
	// number.
	RateLimit  int
	RateWindow time.Duration
	// Database is the address of a PostgreSQL database, which any number of nodes share. If it is
	// empty, SQLite in DataDir is used.
	Database string
	// MigrateDatabase is the address for migrations, if it is not Database. It is needed if
	// Database is a proxy that pools transactions.
	MigrateDatabase string
	// NoMigrate makes Start fail if the tables are not up to date.
	NoMigrate bool
	// Retention is how long history is kept; 0 means 90 days. It must be longer than a delivery can
	// be pending.
	Retention time.Duration
	// MaxRules is how many rules a client may have; 0 means 10,000. MaxFanOut is how many
	// deliveries one publish request may make; 0 means 10,000.
	MaxRules, MaxFanOut int
	// NodeTimeout is how long a node may make no heartbeat before the others take over its
	// deliveries; 0 means 15 s.
	NodeTimeout time.Duration
	// OperatorKeys are the operator's keys: one, or two while the operator changes them.
	OperatorKeys []string
	// SecretKeyFile is the file with the keys that seal secrets. If it is empty, it is a file in
	// the data directory, made at the first start.
	SecretKeyFile string
	// AllowTargets are networks that receivers may be in although they are private, loopback or
	// otherwise special.
	AllowTargets []netip.Prefix
	// DenyTargets are networks that receivers may not be in although they are public or allowed.
	DenyTargets []netip.Prefix
	// AllowPorts are the ports that receivers may have outside AllowTargets; nil means 80, 443, and
	// 1024 and above.
	AllowPorts egress.Ports
	// EgressProxy is the proxy for connections to receivers; nil means direct connections.
	EgressProxy *url.URL
	// RetrySchedule has the interval before each retry; nil means 20 s, 40 s, 60 s.
	RetrySchedule []time.Duration
	// RequestTimeout bounds an attempt from the look-up of the name to the end of the response's
	// headers; 0 means 30 s.
	RequestTimeout time.Duration
	// AnswerQuota bounds, in bytes, what is stored of receivers' answers to one client in a day, on
	// this node; 0 means 64 MiB, and a negative value any number.
	AnswerQuota int
	// MailServer accepts mail for the mailboxes of rules. If it is nil, there is none, and such
	// deliveries fail.
	MailServer *mail.Server
	// MailFrom is the sender of mail.
	MailFrom netmail.Address
	// MailSchedule has the interval before each retry of a mail; nil means 1m, 5m, 30m, 2h.
	MailSchedule []time.Duration
	// MailLimit is how many mails of a client a mailbox gets within MailWindow before the next ones
	// become a digest; 0 means any number.
	MailLimit  int
	MailWindow time.Duration
	// PublicURL is where people reach the service, for links in mail.
	PublicURL string
	// Outward bounds what clients cause outside; the zero value bounds nothing.
	Outward Outward
	// ClientIDHeader is the header that names the client to receivers; empty means
	// X-Codat-ClientId.
	ClientIDHeader string
	// AmericanSpelling delivers "New company synchronized" with a z.
	AmericanSpelling bool
	// StopBudget bounds the time of a stop; 0 means RequestTimeout and 5 s.
	StopBudget time.Duration
	// DrainDelay is how long the service accepts requests after /readyz has turned to 503, so that
	// load balancers send them to other nodes. It is part of StopBudget.
	DrainDelay time.Duration
	// Clock is the program's clock. nil means one that follows the system's clock, or the
	// database's if Database is set.
	Clock   *clock.Clock
	Version string
	Log     *slog.Logger
}

// SecretKeyFile is the name of the key file in the data directory.
const SecretKeyFile = "secret.key"

// App is the running service.
type App struct {
	config  Config
	log     *slog.Logger
	clock   *clock.Clock
	store   *store.Store
	engine  *delivery.Engine
	sender  *webhook.Sender
	mailer  *mail.Sender
	backups *backups
	server  *http.Server
	address net.Addr
	// Of a listener for the metrics alone, or nil.
	metricsServer  *http.Server
	metricsAddress net.Addr
	pair           *certificate.Pair // nil without TLS

	draining   atomic.Bool
	background sync.WaitGroup
	endTasks   context.CancelFunc
	failed     chan error
}

// Start starts the service. The service accepts requests when Start returns.
func Start(ctx context.Context, c Config) (*App, error) {
	c.setDefaults()
	rules := policy.Rules(c.RetrySchedule)
	if c.Retention <= rules.MaxAge {
		return nil, fmt.Errorf("retention of %.4g days: it must be more than %.4g days, because a delivery can be pending for that long with this retry schedule; raise --retention",
			c.Retention.Hours()/24, rules.MaxAge.Hours()/24)
	}
	if c.ClientIDHeader != "" {
		if err := CheckClientIDHeader(c.ClientIDHeader); err != nil {
			return nil, err
		}
	}
	if err := c.CheckOutward(); err != nil {
		return nil, err
	}
	a := &App{config: c, log: c.Log, failed: make(chan error, 1)}
	if err := a.loadCertificate(); err != nil {
		return nil, err
	}
	box, keyExisted, err := c.openBox()
	if err != nil {
		return nil, err
	}
	if a.clock = c.Clock; a.clock == nil {
		a.clock = clock.New(clock.Options{Shared: c.Database != "", Log: c.Log})
	}
	ids := herald.NewIDs(a.clock.Now)
	var clients *clientcache.Cache // set below; the store reports changes to it
	a.store, err = store.Open(ctx, store.Options{
		Dir: c.DataDir, Database: c.Database, MigrateDatabase: c.MigrateDatabase, NoMigrate: c.NoMigrate,
		Retention: c.Retention, MaxRules: c.MaxRules, Box: box, Logger: c.Log, Clock: a.clock, IDs: ids,
		Changed: func(client uuid.UUID) { clients.Invalidate(client) },
	})
	if err != nil {
		return nil, err
	}
	if err := a.checkSecrets(ctx, keyExisted); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	if clients, err = clientcache.New(a.store, catalogue.Options{AmericanSpelling: c.AmericanSpelling}); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	keyFile, _ := c.keyFile()
	a.backups = &backups{store: a.store, dir: c.DataDir, keyFile: keyFile}
	if err := a.backups.removeOldBackups(); err != nil {
		return nil, errors.Join(fmt.Errorf("remove what a backup left: %w", err), a.store.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	guard := egress.New(egress.Options{Allow: c.AllowTargets, Deny: c.DenyTargets, Ports: c.AllowPorts, Proxy: c.EgressProxy,
		AttemptsPerAddress: c.Outward.AttemptsPerAddress})
	a.sender = webhook.New(webhook.Options{
		Guard: guard, Timeout: c.RequestTimeout, UserAgent: "Herald/" + c.Version, ClientIDHeader: c.ClientIDHeader, Logger: c.Log,
	})
	a.mailer, err = c.mailer(box)
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.engine = delivery.New(delivery.Options{
		Store: a.store, Nodes: a.store, Clients: clients, Sender: a.sender, Mailer: a.mailer,
		Digests: a.store, Digest: policy.Digest{Limit: c.MailLimit, Window: c.MailWindow, Bounds: c.mailBounds()},
		Consents: a.consents(),
		Policy:   rules, MailPolicy: policy.Mail(c.MailSchedule), Log: c.Log, Metrics: registry, Random: rand.Float64,
		DeadAfter: c.NodeTimeout, Clock: a.clock, AnswerQuota: max(c.AnswerQuota, 0),
	})
	if err := a.engine.Start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the engine: %w", err), a.store.Close())
	}
	accepts := intake.New(clients, a.store, a.engine, webhook.Origin).WithIDs(ids)
	if c.MaxFanOut > 0 {
		accepts.MaxFanOut = c.MaxFanOut
	}
	handler, err := a.handler(parts{
		guard: guard, clients: clients, registry: registry, box: box,
		intake:  accepts,
		control: &delivery.Control{Engine: a.engine, History: a.store, Origin: webhook.Origin},
	})
	if err == nil {
		err = a.listen(ctx, handler, guard, registry)
	}
	if err == nil && c.MetricsListen != "" {
		err = a.listenForMetrics(ctx, a.metrics(registry), guard)
	}
	if err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	a.startMaintenance(&resealer{box: box, store: a.store, log: c.Log})
	return a, a.warnAboutMail(ctx)
}

// mailer makes the sender of mail. The box seals what the unsubscribe links contain.
func (c *Config) mailer(box *secret.Box) (*mail.Sender, error) {
	mails := mail.Options{Server: c.MailServer, From: c.MailFrom, PublicURL: c.PublicURL, Timeout: c.RequestTimeout, Product: "Herald/" + c.Version}
	if c.PublicURL != "" {
		mails.Unsubscribe = func(client uuid.UUID, mailbox string) string {
			return strings.TrimSuffix(c.PublicURL, "/") + unsubscribe.Path + unsubscribe.Token(box, client, mailbox)
		}
		mails.Confirm = func(client uuid.UUID, mailbox string) string {
			return strings.TrimSuffix(c.PublicURL, "/") + unsubscribe.ConfirmPath + unsubscribe.ConfirmToken(box, client, mailbox)
		}
	}
	return mail.New(mails)
}

// warnAboutMail logs a warning if rules name mailboxes and there is no mail server.
func (a *App) warnAboutMail(ctx context.Context) error {
	if a.config.MailServer != nil {
		return nil
	}
	rules, err := a.store.RulesWithEmails(ctx)
	if err != nil || rules == 0 {
		return err
	}
	a.log.Warn("rules name mailboxes, but no mail server is configured (--smtp); their mails fail", "rules", rules)
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
	if c.AnswerQuota == 0 {
		c.AnswerQuota = delivery.DefaultAnswerQuota
	}
	if c.StopBudget == 0 {
		c.StopBudget = c.RequestTimeout + 5*time.Second
	}
}

// Failed returns a channel that receives an error if the service cannot continue.
func (a *App) Failed() <-chan error { return a.failed }

// Stop stops the service within its budget. /readyz turns to 503, and after the drain delay the
// service accepts no more requests. Attempts under way end, deliveries that have not begun are
// handed back, and the database is closed.
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
	// A tenth of the budget is for recording the attempts that are interrupted.
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

// Intervals of the maintenance tasks.
const (
	maintenanceInterval = 5 * time.Second
	expireInterval      = 10 * time.Minute
	stepPause           = 10 * time.Millisecond // after a step that had something to do
)

// startMaintenance runs the tasks that no request waits for, in small steps.
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
		{"bring forward what is due too late", a.pullBack(), maintenanceInterval},
		{"repair digests", a.store.RepairDigests, maintenanceInterval},
		{"delete expired idempotency keys", a.store.ExpireIdempotencyKeys, expireInterval},
		{"delete old history", a.store.Expire, expireInterval},
		{"delete old redeliveries", a.store.ExpireRedeliveries, expireInterval},
		{"delete old tallies", a.store.ExpireTallies, expireInterval},
		{"delete old marks of commits", a.store.ExpireMarks, expireInterval},
		{"delete old bounds of mail and consents", a.store.ExpireMailBounds, expireInterval},
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

// sleep waits for d. It returns false if ctx ended before that.
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

// Migrate applies the migrations that a database lacks, without serving, and returns their names.
func Migrate(ctx context.Context, dir, database string) ([]string, error) {
	return store.Migrate(ctx, store.Options{Dir: dir, Database: database})
}

// Check reads the whole embedded database in dir and returns what is wrong with it.
func Check(ctx context.Context, dir string) ([]string, error) { return store.Check(ctx, dir) }
