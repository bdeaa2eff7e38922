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
	"herald/internal/notify"
	"herald/internal/policy"
	"herald/internal/portal"
	"herald/internal/ratelimit"
	"herald/internal/secret"
	"herald/internal/store"
	"herald/internal/webhook"
)

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
	profileServer  *http.Server
	profileAddress net.Addr
	pair           *certificate.Pair // nil without TLS

	limitEvents *ratelimit.Events // nil without a rate limit
	notifier    *notify.Notifier
	live        *portal.Live

	draining   atomic.Bool
	background sync.WaitGroup
	endTasks   context.CancelFunc
	failed     chan error
}

// Start starts the service. The service accepts requests when Start returns.
func Start(ctx context.Context, c Config) (*App, error) {
	c.setDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	a := &App{config: c, log: c.Log, clock: c.Clock, failed: make(chan error, 1)}
	if a.clock == nil {
		a.clock = clock.New(clock.Options{Shared: c.Database != "", Log: c.Log})
	}
	if err := a.loadCertificate(); err != nil {
		return nil, err
	}
	box, keyExisted, err := c.openBox()
	if err != nil {
		return nil, err
	}
	ids := herald.NewIDs(a.clock.Now)
	a.live = portal.NewLive(min(portal.DefaultMaxStreams, max(a.mostConnections()/streamShare, 1)), c.Database != "")
	p := parts{box: box, registry: prometheus.NewRegistry()}
	if p.clients, err = a.openStore(ctx, p, keyExisted, ids); err != nil {
		return nil, err
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.measureItself(p.registry)
	p.guard = egress.New(egress.Options{Allow: c.AllowTargets, Deny: c.DenyTargets, Ports: c.AllowPorts, Proxy: c.EgressProxy,
		AttemptsPerAddress: c.Outward.AttemptsPerAddress})
	if err := a.startEngine(ctx, p); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	p.control = &delivery.Control{Engine: a.engine, History: a.store, Origin: webhook.Origin}
	p.intake = intake.New(p.clients, a.store, a.engine, webhook.Origin).WithIDs(ids)
	p.explainer = &intake.Explainer{Clients: p.clients, History: a.store, Now: a.clock.Now}
	if c.MaxFanOut > 0 {
		p.intake.MaxFanOut = c.MaxFanOut
	}
	a.notifier = &notify.Notifier{Store: a.store, Publisher: p.intake, HasRules: hasRules(p.clients), Link: c.issueLink, Log: c.Log}
	if err := a.serve(ctx, p); err != nil {
		return nil, errors.Join(err, a.Stop(ctx))
	}
	a.startMaintenance(&resealer{box: box, store: a.store, log: c.Log})
	return a, a.warnAboutMail(ctx)
}

// openStore opens the database, checks that the box opens what is sealed in it, and returns the cache
// of clients that follows it.
func (a *App) openStore(ctx context.Context, p parts, keyExisted bool, ids *herald.IDs) (*clientcache.Cache, error) {
	c := &a.config
	var clients *clientcache.Cache // set below; the store reports changes to it
	var err error
	a.store, err = store.Open(ctx, store.Options{
		Dir: c.DataDir, Database: c.Database, MigrateDatabase: c.MigrateDatabase, NoMigrate: c.NoMigrate,
		Retention: c.Retention, MaxRules: c.MaxRules, Box: p.box, Logger: c.Log, Clock: a.clock, IDs: ids, Metrics: p.registry,
		OperatorKeys: fingerprints(c.OperatorKeys),
		Changed:      func(client uuid.UUID) { clients.Invalidate(client) },
		Happened:     a.live.Changed,
	})
	if err != nil {
		return nil, err
	}
	keyFile, _ := c.keyFile()
	a.backups = &backups{store: a.store, dir: c.DataDir, keyFile: keyFile}
	err = a.checkSecrets(ctx, keyExisted)
	if err == nil {
		err = a.backups.removeOldBackups()
	}
	if err == nil {
		clients, err = clientcache.New(a.store, catalogue.Options{AmericanSpelling: c.AmericanSpelling})
	}
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	return clients, nil
}

func fingerprints(keys []string) (all [][32]byte) {
	for _, key := range keys {
		all = append(all, secret.Fingerprint(key))
	}
	return all
}

// startEngine makes what sends, and starts the engine.
func (a *App) startEngine(ctx context.Context, p parts) (err error) {
	c := &a.config
	a.sender = webhook.New(webhook.Options{
		Guard: p.guard, Timeout: c.RequestTimeout, UserAgent: "Herald/" + c.Version, ClientIDHeader: c.ClientIDHeader, Logger: c.Log,
	})
	if a.mailer, err = c.mailer(p.box); err != nil {
		return err
	}
	a.engine = delivery.New(delivery.Options{
		Store: a.store, Queue: a.store, Nodes: a.store, Clients: p.clients, Sender: a.sender, Mailer: a.mailer,
		Digests: a.store, Digest: policy.Digest{Limit: c.MailLimit, Window: c.MailWindow, Bounds: c.mailBounds()},
		Consents: a.consents(),
		Policy:   policy.Rules(c.RetrySchedule), MailPolicy: policy.Mail(c.MailSchedule),
		Log: c.Log, Metrics: p.registry, LongestAttempt: max(c.RequestTimeout+bodyTime, c.MailTimeouts.Longest()), Random: rand.Float64,
		DeadAfter: c.NodeTimeout, Clock: a.clock, AnswerQuota: max(c.AnswerQuota, 0),
	})
	if err := a.engine.Start(ctx); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	return nil
}

// serve opens the listeners.
func (a *App) serve(ctx context.Context, p parts) error {
	handler, err := a.handler(p)
	if err != nil {
		return err
	}
	if err := a.listen(ctx, handler, p.guard, p.registry); err != nil {
		return err
	}
	if a.config.MetricsListen != "" {
		if err := a.listenForMetrics(ctx, a.metrics(p.registry), p.guard); err != nil {
			return err
		}
	}
	if a.config.ProfileListen == "" {
		return nil
	}
	return a.listenForProfiles(ctx, p.guard)
}

// mailer makes the sender of mail. The box seals what the unsubscribe links contain.
func (c *Config) mailer(box *secret.Box) (*mail.Sender, error) {
	mails := mail.Options{
		Server: c.MailServer, From: c.MailFrom, Hello: c.MailHello, Timeouts: c.MailTimeouts, PublicURL: c.PublicURL, Product: "Herald/" + c.Version,
	}
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
	a.live.Close() // its streams would keep endRequests waiting
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
		a.saveKeyUses(ctx)
	}
	a.sender.Close()
	a.mailer.Close()
	return errors.Join(append(errs, a.store.Close())...)
}

// Intervals of the maintenance tasks.
const (
	maintenanceInterval = 5 * time.Second
	statisticsInterval  = 2 * time.Second
	expireInterval      = 10 * time.Minute
	keyUsesInterval     = time.Minute
	sizeInterval        = time.Minute
	stepPause           = 10 * time.Millisecond // after a step that had something to do
)

// startMaintenance runs the tasks that no request waits for, in small steps.
func (a *App) startMaintenance(r *resealer) {
	ctx, cancel := context.WithCancel(context.Background())
	a.endTasks = cancel
	if a.pair != nil {
		a.background.Go(func() { a.pair.Watch(ctx) })
	}
	if a.limitEvents != nil {
		a.background.Go(func() { a.limitEvents.Run(ctx) })
	}
	for _, task := range []struct {
		name  string
		step  func(context.Context) (int, error)
		every time.Duration
	}{
		{"cancel the deliveries of deleted clients", a.cancelDeleted, maintenanceInterval},
		{"count alerts", a.store.Tally, maintenanceInterval},
		{"index alerts", a.indexAlerts, maintenanceInterval},
		{"add to the statistics", a.store.FoldStatistics, statisticsInterval},
		{"bring forward what is due too late", a.pullBack(), maintenanceInterval},
		{"tell clients of failing receivers", a.notifier.Step, maintenanceInterval},
		{"end issues of unused receivers", a.store.EndUnusedIssues, maintenanceInterval},
		{"delete old issues", a.store.ExpireIssues, expireInterval},
		{"repair digests", a.store.RepairDigests, maintenanceInterval},
		{"delete expired idempotency keys", a.store.ExpireIdempotencyKeys, expireInterval},
		{"delete old history", a.store.Expire, expireInterval},
		{"delete old redeliveries", a.store.ExpireRedeliveries, expireInterval},
		{"delete old tallies", a.store.ExpireTallies, expireInterval},
		{"delete the index of old alerts", a.store.ExpireAlertIndex, expireInterval},
		{"delete old statistics", a.store.ExpireStatistics, expireInterval},
		{"delete old marks of commits", a.store.ExpireMarks, expireInterval},
		{"delete old bounds of mail and consents", a.store.ExpireMailBounds, expireInterval},
		{"delete old entries of the audit log", a.store.ExpireAuditLog, expireInterval},
		{"delete ended sessions", a.store.ExpireSessions, expireInterval},
		{"store the uses of API keys", a.store.SaveKeyUses, keyUsesInterval},
		{"keep the size of the database", a.store.SampleSize, sizeInterval},
		{"follow the secret key file", r.step, rereadInterval},
	} {
		a.background.Go(func() {
			for wait := task.every; sleep(ctx, wait); {
				n, err := task.step(ctx)
				wait = task.every
				switch {
				case err != nil && ctx.Err() == nil:
					a.log.Error(task.name, "error", ofTask(err))
				case n > 0:
					wait = stepPause
				}
			}
		})
	}
}

// indexAlerts writes a segment of the index of alerts, and then rests twice as long as that took. So the
// index of a large database that has none yet takes a third of a processor at most.
func (a *App) indexAlerts(ctx context.Context) (int, error) {
	began := time.Now()
	n, err := a.store.IndexAlerts(ctx)
	if n > 0 {
		sleep(ctx, 2*time.Since(began))
	}
	return n, err
}

// keyUsesPatience bounds how long a stop waits for the uses of API keys to be stored: they are worth no more.
const keyUsesPatience = 2 * time.Second

var errNoTimeForUses = errors.New("the stop leaves no time, or the database did not answer")

// ofTask returns an error of a task of the service itself as a log shows it: without the sentence for the caller of
// a request, since there is none.
func ofTask(err error) error {
	if known := (*herald.Error)(nil); errors.As(err, &known) && known.Cause != nil {
		return known.Cause
	}
	return err
}

// saveKeyUses stores the uses of API keys since maintenance did that last.
func (a *App) saveKeyUses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, keyUsesPatience)
	defer cancel()
	for n := 1; n > 0; {
		var err error
		if n, err = a.store.SaveKeyUses(ctx); err != nil {
			if ctx.Err() != nil {
				err = errNoTimeForUses
			}
			a.log.Warn("the last uses of API keys are not stored; they may be shown a minute too early", "error", ofTask(err))
			return
		}
	}
}

func (a *App) cancelDeleted(ctx context.Context) (int, error) {
	n, err := a.store.CancelDeletedClients(ctx)
	if err == nil {
		a.engine.Ended(herald.Cancelled, n)
	}
	return n, err
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
