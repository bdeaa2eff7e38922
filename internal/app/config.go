package app

import (
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"herald/internal/clock"
	"herald/internal/delivery"
	"herald/internal/egress"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/portal"
	"herald/internal/store"
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
	// ProfileListen is a loopback address host:port for Go's profiles; empty means none.
	ProfileListen string
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
	// RequestTimeout bounds a webhook's attempt from the look-up of the name to the end of the
	// response's headers; 0 means 30 s.
	RequestTimeout time.Duration
	// AnswerQuota bounds, in bytes, what is stored of receivers' answers to one client in a day, on
	// this node; 0 means 64 MiB, and a negative value any number.
	AnswerQuota int
	// MailServer accepts mail for the mailboxes of rules. If it is nil, there is none, and such
	// deliveries fail.
	MailServer *mail.Server
	// MailFrom is the sender of mail.
	MailFrom netmail.Address
	// MailHello is the name that is told to the mail server; empty means the machine's name, or the
	// domain of MailFrom if that name is not fully qualified.
	MailHello string
	// MailTimeouts bound the steps of the dialogue with the mail server.
	MailTimeouts mail.Timeouts
	// MailSchedule has the interval before each retry of a mail; nil means 1m, 5m, 30m, 2h.
	MailSchedule []time.Duration
	// MailLimit is how many mails of a client a mailbox gets within MailWindow before the next ones
	// become a digest; 0 means any number.
	MailLimit  int
	MailWindow time.Duration
	// PublicURL is where people reach the service, for links in mail and into the portal.
	PublicURL string
	// NoPortal switches the web portal off.
	NoPortal bool
	// PortalFrameAncestors are the origins whose pages may show the portal in a frame. They need
	// https: browsers send a cookie into a frame of another site by https alone.
	PortalFrameAncestors []string
	// Inbox is the receiver of herald dev, for the portal to show; nil elsewhere.
	Inbox portal.Inbox
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

// check refuses settings that contradict each other.
func (c *Config) check() error {
	if longest := policy.Rules(c.RetrySchedule).MaxAge; c.Retention <= longest {
		return fmt.Errorf("retention of %.4g days: it must be more than %.4g days, because a delivery can be pending for that long with this retry schedule; raise --retention",
			c.Retention.Hours()/24, longest.Hours()/24)
	}
	if c.ClientIDHeader != "" {
		if err := CheckClientIDHeader(c.ClientIDHeader); err != nil {
			return err
		}
	}
	if len(c.PortalFrameAncestors) > 0 && !c.secure() {
		return errors.New("--portal-frame-ancestors without https: browsers send the portal's cookie into a frame by https alone; set --public-url to an https address, or --tls-cert")
	}
	return c.CheckOutward()
}

// secure reports whether people reach the service by https.
func (c *Config) secure() bool { return c.TLSCert != "" || strings.HasPrefix(c.PublicURL, "https://") }

// CheckFrameAncestor refuses a text that is no origin such as https://platform.example.
func CheckFrameAncestor(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsAny(text, " ;,'\"\t\r\n") {
		return fmt.Errorf("%.200q is no origin such as https://platform.example", text)
	}
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
