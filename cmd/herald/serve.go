package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"herald"
	"herald/internal/app"
	"herald/internal/egress"
	"herald/internal/mail"
	"herald/internal/memory"
	"herald/internal/policy"
	"herald/internal/safetext"
	"herald/internal/secret"
)

// needsKeyFile says that PostgreSQL's nodes share a key.
const needsKeyFile = "with --database every node needs the same --secret-key-file; make one with: (umask 077; head -c 32 /dev/urandom | base64 > secret.key)"

// maxFanOut is the largest --max-fan-out. All deliveries of a request are written in one
// transaction, and other publishers wait behind it.
const maxFanOut = 100_000

// serveCommand is `herald serve`: its flags are the service's configuration.
type serveCommand struct {
	Listen          string        `help:"Address that the API listens on, host:port." env:"HERALD_LISTEN" default:"127.0.0.1:8080"`
	TLSCert         string        `name:"tls-cert" help:"File with the API's certificate chain in PEM, for HTTPS; read again when it changes. Needs --tls-key." env:"HERALD_TLS_CERT" placeholder:"FILE" type:"path"`
	TLSKey          string        `name:"tls-key" help:"File with the key of --tls-cert." env:"HERALD_TLS_KEY" placeholder:"FILE" type:"path"`
	MetricsListen   string        `help:"Address of a listener for /metrics alone, host:port; the API then has no /metrics. Without it the API has it." env:"HERALD_METRICS_LISTEN" placeholder:"ADDRESS"`
	ProfileListen   string        `help:"Loopback address of a listener for Go's profiles (/debug/pprof/), host:port. Without it: none." env:"HERALD_PROFILE_LISTEN" placeholder:"ADDRESS"`
	MaxConnections  int           `help:"How many connections the API keeps open at once, a quarter of them (of few, a half) to one address. 0: what the limit of open files leaves beside the database and sending." env:"HERALD_MAX_CONNECTIONS" default:"0"`
	TrustedProxy    []string      `help:"Network of proxies that are believed when they say whom a request is from (X-Forwarded-For); repeatable." env:"HERALD_TRUSTED_PROXIES" placeholder:"CIDR"`
	RateLimit       int           `help:"How many requests each client may make within the window, on each node; the operator is not limited. 0: any number." env:"HERALD_RATE_LIMIT" default:"0"`
	RateWindow      time.Duration `help:"The window of --rate-limit, which begins with a client's first request." env:"HERALD_RATE_WINDOW" default:"1m"`
	Data            string        `help:"Directory of the embedded database and the secret key; made if missing." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	databaseFlags   `embed:""`
	NoMigrate       bool          `help:"Refuse to start on tables that are not up to date, see herald migrate." env:"HERALD_NO_MIGRATE"`
	Retention       days          `help:"Retention of history, in days (90d) or hours; longer than a delivery can be pending." env:"HERALD_RETENTION" default:"90d"`
	MaxRules        int           `help:"How many rules a client may have." env:"HERALD_MAX_RULES" default:"10000"`
	MaxFanOut       int           `help:"How many deliveries one publish request may make; an alert that nobody receives counts as one." env:"HERALD_MAX_FAN_OUT" default:"10000"`
	NodeTimeout     time.Duration `help:"With PostgreSQL: how long a node may be silent before the others take over what it holds." env:"HERALD_NODE_TIMEOUT" default:"15s"`
	OperatorKey     []string      `help:"API key of the platform's operator, at least 32 random characters, for example from openssl rand -hex 32; two while it is being changed." env:"HERALD_OPERATOR_KEY" placeholder:"KEY"`
	OperatorKeyFile string        `help:"File with the value of --operator-key; of two keys each in its own line." env:"HERALD_OPERATOR_KEY_FILE" placeholder:"FILE" type:"path"`
	AllowTarget     []string      `help:"Network that receivers may lie in although it is private or loopback; repeatable." env:"HERALD_ALLOW_TARGETS" placeholder:"CIDR"`
	DenyTarget      []string      `help:"Network that receivers may not lie in although it is public or allowed; repeatable." env:"HERALD_DENY_TARGETS" placeholder:"CIDR"`
	AllowPort       []string      `help:"Port, or range such as 8000-8999, that receivers may have; repeatable. Without it 80, 443 and those from 1024 on." env:"HERALD_ALLOW_PORTS" placeholder:"PORT"`
	EgressProxy     string        `help:"HTTP proxy that connects to receivers and resolves their names: it must refuse those at private addresses." env:"HERALD_EGRESS_PROXY" placeholder:"URL"`
	EgressProxyFile string        `help:"File with the value of --egress-proxy." env:"HERALD_EGRESS_PROXY_FILE" placeholder:"FILE" type:"path"`
	RetrySchedule   string        `help:"Intervals before the retries of a delivery; \"none\" makes none." env:"HERALD_RETRY_SCHEDULE" default:"20s,40s,60s"`
	RequestTimeout  time.Duration `help:"How long a webhook's receiver has to answer." env:"HERALD_REQUEST_TIMEOUT" default:"30s"`
	SMTP            string        `name:"smtp" help:"Mail server for rules that name mailboxes: smtp://user:password@host:587 (STARTTLS demanded, unless ?tls=none) or smtps://…" env:"HERALD_SMTP" placeholder:"URL"`
	SMTPFile        string        `name:"smtp-file" help:"File with the value of --smtp." env:"HERALD_SMTP_FILE" placeholder:"FILE" type:"path"`
	MailFrom        string        `help:"Sender of mail, such as Herald <alerts@example.com>; needed with --smtp." env:"HERALD_MAIL_FROM" placeholder:"MAILBOX"`
	MailHello       string        `help:"Name that the mail server is told (EHLO): a domain, or an address such as [192.0.2.1]. Empty: this machine's name, or the sender's domain if that name is not fully qualified." env:"HERALD_MAIL_HELLO" placeholder:"NAME"`
	MailTimeouts    string        `help:"How long each step with the mail server may take; the steps left out keep their defaults." env:"HERALD_MAIL_TIMEOUTS" default:"connect=30s,greeting=5m,hello=5m,mail=5m,rcpt=5m,data=2m,block=3m,end=10m"`
	MailSchedule    string        `help:"Intervals before the retries of a mail." env:"HERALD_MAIL_SCHEDULE" default:"1m,5m,30m,2h"`
	MailLimit       int           `help:"How many mails one mailbox gets of a client within the window before the others become a digest; 0: any number." env:"HERALD_MAIL_LIMIT" default:"10"`
	MailWindow      time.Duration `help:"The window of --mail-limit, at whose end the digest goes." env:"HERALD_MAIL_WINDOW" default:"10m"`
	PublicURL       string        `name:"public-url" help:"Where people reach this service, for links in mail and into the portal." env:"HERALD_PUBLIC_URL" placeholder:"URL"`
	Portal          bool          `help:"Have the web portal at /portal/." env:"HERALD_PORTAL" default:"true" negatable:""`
	PortalFrame     []string      `name:"portal-frame-ancestors" help:"Origin such as https://platform.example whose pages may show the portal in a frame; repeatable. Needs https." env:"HERALD_PORTAL_FRAME_ANCESTORS" placeholder:"ORIGIN"`
	ClientIDHeader  string        `help:"Header that tells receivers the client's id; one that nothing else uses." env:"HERALD_CLIENT_ID_HEADER" default:"X-Codat-ClientId"`
	Outward         outwardFlags  `embed:""`
	AnswerQuota     int           `help:"How many MiB of receivers' answers to one client are stored in a day, on each node; over it only the start of each. 0: any number." env:"HERALD_ANSWER_QUOTA" default:"64"`
	AmericanZ       bool          `name:"american-spelling" help:"Deliver \"New company synchronized\" with a z." env:"HERALD_AMERICAN_SPELLING"`
	SecretKeyFile   string        `help:"File with the key that secrets are sealed with. Without it: secret.key in the data directory, made at the first start." env:"HERALD_SECRET_KEY_FILE" placeholder:"FILE" type:"path"`
	StopBudget      time.Duration `help:"How long a stop may take; 0: the request timeout and five seconds." env:"HERALD_STOP_BUDGET" default:"0s"`
	DrainDelay      time.Duration `help:"How long a stop still takes requests after /readyz has turned 503, so that balancers send them elsewhere." env:"HERALD_DRAIN_DELAY" default:"2s"`
	LogFormat       string        `help:"Form of the log on stderr: text or json." env:"HERALD_LOG_FORMAT" enum:"text,json" default:"text"`
	LogLevel        string        `help:"What is logged: debug, info (every request that writes and every attempt), warn or error." env:"HERALD_LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`
}

// Run serves until ctx ends.
func (c *serveCommand) Run(ctx context.Context, out *streams) error {
	if err := c.readSecrets(); err != nil {
		return err
	}
	lines := newBufferedLog(out.stderr)
	defer lines.Flush() //nolint:errcheck // there is nowhere left to say it
	config, err := c.config(lines)
	if err != nil {
		return err
	}
	if len(config.OperatorKeys) == 0 {
		return usageError("no operator key: set HERALD_OPERATOR_KEY (or --operator-key, or a file with --operator-key-file) to at least %d random characters, for example from: openssl rand -hex 32", secret.MinOperatorKey)
	}
	return serve(ctx, config, func(a *app.App) error {
		config.Log.Info("herald serves", "address", a.URL(), "data", config.DataDir, "version", version)
		return nil
	})
}

// maxAnswerQuota is the largest --answer-quota in MiB: a terabyte.
const maxAnswerQuota = 1 << 20

// config checks the flags and returns the service's configuration.
func (c *serveCommand) config(logTo io.Writer) (app.Config, error) {
	config := app.Config{
		Listen: c.Listen, DataDir: c.Data, Database: c.Database, MigrateDatabase: c.MigrateDatabase, NoMigrate: c.NoMigrate, Retention: time.Duration(c.Retention),
		MaxRules: c.MaxRules, MaxFanOut: c.MaxFanOut, NodeTimeout: c.NodeTimeout, DrainDelay: c.DrainDelay, OperatorKeys: c.OperatorKey, SecretKeyFile: c.SecretKeyFile,
		RequestTimeout: c.RequestTimeout, ClientIDHeader: c.ClientIDHeader, AmericanSpelling: c.AmericanZ,
		NoPortal: !c.Portal, PortalFrameAncestors: c.PortalFrame,
		StopBudget: c.StopBudget, Version: version, Log: newLogger(logTo, c.LogFormat, c.LogLevel),
	}
	if err := checkAddress("--listen", c.Listen); err != nil {
		return config, err
	}
	if c.Database != "" && c.SecretKeyFile == "" {
		return config, usageError(needsKeyFile)
	}
	if c.Database != "" && c.NodeTimeout < time.Second {
		return config, usageError("--node-timeout %v: want at least 1s", c.NodeTimeout)
	}
	if len(c.OperatorKey) > 2 {
		return config, usageError("%d operator keys: give one, or two while it is being changed", len(c.OperatorKey))
	}
	for _, key := range c.OperatorKey {
		if err := secret.CheckOperatorKey(key); err != nil {
			return config, usageError("--operator-key: %v; make one with: openssl rand -hex 32", err)
		}
	}
	if c.ClientIDHeader != "" {
		if err := app.CheckClientIDHeader(c.ClientIDHeader); err != nil {
			return config, usageError("--client-id-header: %v", err)
		}
	}
	for _, origin := range c.PortalFrame {
		if err := app.CheckFrameAncestor(origin); err != nil {
			return config, usageError("--portal-frame-ancestors: %v", err)
		}
	}
	if c.MaxRules < 0 {
		return config, usageError("--max-rules %d: give at least 1, or 0 for the default", c.MaxRules)
	}
	if c.MaxFanOut < 0 || c.MaxFanOut > maxFanOut {
		return config, usageError("--max-fan-out %d: give a number from 1 to %d, or 0 for the default", c.MaxFanOut, maxFanOut)
	}
	if c.RequestTimeout <= 0 {
		return config, usageError("--request-timeout %v: give a positive time such as 30s", c.RequestTimeout)
	}
	if c.AnswerQuota < 0 || c.AnswerQuota > maxAnswerQuota {
		return config, usageError("--answer-quota %d: give a number of MiB from 1 to %d such as 64, or 0 for no limit", c.AnswerQuota, maxAnswerQuota)
	}
	if config.AnswerQuota = c.AnswerQuota << 20; c.AnswerQuota == 0 {
		config.AnswerQuota = -1 // 0 means the default
	}
	if c.StopBudget < 0 {
		return config, usageError("--stop-budget %v: give a positive time such as 35s", c.StopBudget)
	}
	if c.DrainDelay < 0 {
		return config, usageError("--drain-delay %v: give a positive time such as 2s, or 0s", c.DrainDelay)
	}
	if c.MigrateDatabase != "" && c.Database == "" {
		return config, usageError("--migrate-database is of use only with --database")
	}
	var err error
	if config.RetrySchedule, err = policy.ParseSchedule(c.RetrySchedule); err != nil {
		return config, usageError("--retry-schedule: %v", err)
	}
	if config.RetrySchedule == nil {
		config.RetrySchedule = []time.Duration{} // empty means no retries; nil means the default
	}
	if err := c.configCallers(&config); err != nil {
		return config, err
	}
	if err := c.configMail(&config); err != nil {
		return config, err
	}
	if err := c.configEgress(&config); err != nil {
		return config, err
	}
	return config, c.Outward.config(&config)
}

// configEgress sets which addresses may be called.
func (c *serveCommand) configEgress(config *app.Config) (err error) {
	if config.AllowTargets, err = egress.ParsePrefixes(c.AllowTarget); err != nil {
		return usageError("--allow-target: %v", err)
	}
	if config.DenyTargets, err = egress.ParsePrefixes(c.DenyTarget); err != nil {
		return usageError("--deny-target: %v", err)
	}
	if config.AllowPorts, err = egress.ParsePorts(c.AllowPort); err != nil {
		return usageError("--allow-port: %v", err)
	}
	if c.EgressProxy != "" {
		if config.EgressProxy, err = egress.ParseProxy(c.EgressProxy); err != nil {
			return usageError("--egress-proxy: %v", err)
		}
	}
	return nil
}

// configCallers sets the options about the API's callers: TLS, rate limit and trusted proxies.
func (c *serveCommand) configCallers(config *app.Config) (err error) {
	if c.MetricsListen != "" {
		if err := checkAddress("--metrics-listen", c.MetricsListen); err != nil {
			return err
		}
	}
	if config.TLSCert, config.TLSKey = c.TLSCert, c.TLSKey; (c.TLSCert == "") != (c.TLSKey == "") {
		return usageError("--tls-cert %q, --tls-key %q: give both, or none", c.TLSCert, c.TLSKey)
	}
	if config.RateLimit, config.RateWindow = c.RateLimit, c.RateWindow; c.RateLimit < 0 || c.RateLimit > 0 && c.RateWindow < time.Second {
		return usageError("--rate-limit %d, --rate-window %v: give a number and a time of at least 1s such as 1000 and 1m, or 0 for no limit", c.RateLimit, c.RateWindow)
	}
	if config.MetricsListen, config.MaxConnections = c.MetricsListen, c.MaxConnections; c.MaxConnections < 0 {
		return usageError("--max-connections %d: give a positive number, or 0 for what the limit of open files leaves", c.MaxConnections)
	}
	if config.ProfileListen = c.ProfileListen; c.ProfileListen != "" {
		if err := app.CheckProfileListen(c.ProfileListen); err != nil {
			return usageError("--profile-listen: %v", err)
		}
	}
	if config.TrustedProxies, err = egress.ParsePrefixes(c.TrustedProxy); err != nil {
		return usageError("--trusted-proxy: %v", err)
	}
	return nil
}

// checkAddress refuses an address to listen on that has no port, or none that there is: with an empty
// one the system chooses, and nobody finds the service. Port 0 asks for that.
func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		if port == "" {
			err = errors.New("missing port")
		} else if n, numeric := strconv.Atoi(port); numeric == nil && (n < 0 || n > 65535) || numeric != nil && !isServiceName(port) {
			err = fmt.Errorf("port %.20q: want a number up to 65535", port)
		}
	}
	var wrong *net.AddrError
	if errors.As(err, &wrong) {
		err = errors.New(wrong.Err)
	}
	if err != nil {
		return usageError("%s: listen address %.200q: %v; use host:port such as 127.0.0.1:8080", flag, address, err)
	}
	return nil
}

// isServiceName reports whether the system knows a port by this name, such as http.
func isServiceName(port string) bool {
	_, err := net.LookupPort("tcp", port)
	return err == nil
}

// configMail sets the options about mail.
func (c *serveCommand) configMail(config *app.Config) (err error) {
	if config.MailSchedule, err = policy.ParseSchedule(c.MailSchedule); err != nil {
		return usageError("--mail-schedule: %v", err)
	}
	if config.MailLimit, config.MailWindow = c.MailLimit, c.MailWindow; c.MailLimit < 0 || c.MailLimit > 0 && c.MailWindow <= 0 {
		return usageError("--mail-limit %d, --mail-window %v: give a number and a positive time such as 10 and 10m, or 0 for no limit", c.MailLimit, c.MailWindow)
	}
	if config.MailTimeouts, err = mail.ParseTimeouts(c.MailTimeouts); err != nil {
		return usageError("--mail-timeouts: %v", err)
	}
	if c.MailHello != "" {
		if config.MailHello, err = mail.ParseHello(c.MailHello); err != nil {
			return usageError("--mail-hello %v", err)
		}
	}
	if config.PublicURL = c.PublicURL; c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return usageError("--public-url %.200q: want an address such as https://herald.example.com", c.PublicURL)
		}
	}
	if c.SMTP == "" {
		return nil
	}
	if config.MailServer, err = mail.ParseServer(c.SMTP); err != nil {
		return usageError("--smtp: %v", err)
	}
	from, err := netmail.ParseAddress(c.MailFrom)
	if err != nil {
		return usageError("--mail-from %.200q: want a mailbox such as Herald <alerts@example.com>", c.MailFrom)
	}
	if _, err := herald.ParseMailbox(from.Address); err != nil {
		return usageError("--mail-from: %v", err)
	}
	config.MailFrom = *from
	return nil
}

// limitMemory makes the garbage collector work harder before the cgroup's limit is reached: at it the
// kernel kills the process. A tenth is left for what the collector does not count. GOMEMLIMIT in the
// environment wins.
func limitMemory(log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := memory.CgroupLimit(); limit > 0 {
		soft := limit / 10 * 9
		debug.SetMemoryLimit(soft)
		log.Info("the memory limit was set from the cgroup's", "limit", soft, "cgroup", limit)
	}
}

// serve runs the service until ctx ends. It calls ready after the service accepts
// requests.
func serve(ctx context.Context, config app.Config, ready func(*app.App) error) (err error) {
	defer followGlobalLog(config.Log)()
	limitMemory(config.Log)
	defer keepHeapFloor()()
	a, err := app.Start(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}()
	if err := ready(a); err != nil {
		return err
	}
	debug.FreeOSMemory() // the start leaves more garbage than the idle service uses
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.Failed():
		return err
	}
}

// followGlobalLog sends what packages write through Go's global logger, such as net/http's
// clients, to the service's log, in its form. It returns a function that undoes that.
func followGlobalLog(to *slog.Logger) (undo func()) {
	writer, flags := log.Writer(), log.Flags()
	log.SetOutput(globalLog{to})
	log.SetFlags(0)
	return func() {
		log.SetOutput(writer)
		log.SetFlags(flags)
	}
}

// days is a duration written in days (90d) or in Go's form (2160h).
type days time.Duration

// maxDays is the largest value of days: a hundred years.
const maxDays = 36500

// UnmarshalText parses a flag or an environment variable.
func (d *days) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	if number, isDays := strings.CutSuffix(string(text), "d"); isDays {
		var n int
		n, err = strconv.Atoi(number)
		t = time.Duration(min(n, maxDays+1)) * 24 * time.Hour
	}
	if err != nil || t <= 0 || t > maxDays*24*time.Hour {
		return fmt.Errorf("%.50q: give days such as 90d, at most %dd", text, maxDays)
	}
	*d = days(t)
	return nil
}

// maxGlobalLine bounds a line of the global logger, in bytes.
const maxGlobalLine = 1 << 10

// globalLog writes lines of the global logger to the service's log. net/http uses the global logger
// for what a receiver sends without being asked; such a line quotes the receiver.
type globalLog struct{ to *slog.Logger }

func (g globalLog) Write(line []byte) (int, error) {
	g.to.Warn("a library says", "text", safetext.Line(strings.TrimSpace(string(line)), maxGlobalLine))
	return len(line), nil
}

func newLogger(to io.Writer, format, level string) *slog.Logger {
	var minimum slog.Level
	if err := minimum.UnmarshalText([]byte(level)); err != nil {
		panic(fmt.Sprintf("log level %q passed its enum: %v", level, err))
	}
	options := &slog.HandlerOptions{Level: minimum}
	var handler slog.Handler = slog.NewTextHandler(to, options)
	if format == "json" {
		handler = slog.NewJSONHandler(to, options)
	}
	if b, ok := to.(*bufferedLog); ok {
		handler = flushingHandler{handler, b, format == "text"}
	}
	return slog.New(handler)
}
