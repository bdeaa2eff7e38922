package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/cli"
	"herald/internal/devinbox"
	"herald/internal/mail"
	"herald/internal/secret"
)

// devCommand is `herald dev`: the service for a trial, with a client, a
// receiver and rules.
type devCommand struct {
	Listen        string `help:"Address that the API listens on, host:port." env:"HERALD_LISTEN" default:"127.0.0.1:8080"`
	Inbox         string `help:"Address that the built-in receiver listens on." env:"HERALD_INBOX" default:"127.0.0.1:8081"`
	Data          string `help:"Directory of the database and of the demo's keys; made if missing." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	RetrySchedule string `help:"Intervals before the retries of a delivery; \"none\" makes none." env:"HERALD_RETRY_SCHEDULE" default:"20s,40s,60s"`
	LogLevel      string `help:"What the service logs on stderr beside the demo's own lines." env:"HERALD_LOG_LEVEL" enum:"debug,info,warn,error" default:"error"`
}

// devFile stores the demo's keys across restarts. It has them in plain text, so
// `herald dev` is not for production.
const devFile = "dev.json"

// demoName is the name of the client that the demo has.
const demoName = "Demo"

type devKeys struct {
	OperatorKey string    `json:"operatorKey"`
	APIKey      string    `json:"apiKey,omitempty"`
	ClientID    uuid.UUID `json:"clientId,omitzero"`
	// Inbox is the address that the demo's rules had last. It distinguishes
	// them from the user's own rules.
	Inbox string `json:"inbox,omitempty"`
}

// Run serves the demo until ctx ends.
func (c *devCommand) Run(ctx context.Context, out *streams) error {
	settings := serveCommand{
		Portal: true, Listen: c.Listen, Data: c.Data, RetrySchedule: c.RetrySchedule,
		RequestTimeout: 30 * time.Second, StopBudget: 5 * time.Second, LogFormat: "text", LogLevel: c.LogLevel,
	}
	if err := checkAddress("--inbox", c.Inbox); err != nil {
		return err
	}
	config, err := settings.config(out.stderr)
	if err != nil {
		return err
	}
	config.AllowTargets = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	keys, err := loadDevKeys(c.Data)
	if err != nil {
		return err
	}
	config.OperatorKeys = []string{keys.OperatorKey}
	receiver, err := c.receive(ctx, out.stdout)
	if err != nil {
		return err
	}
	defer receiver.Close()
	if config.MailServer, err = mail.ParseServer("smtp://" + receiver.mail.Addr().String() + "?tls=none"); err != nil {
		return err
	}
	config.MailFrom = netmail.Address{Name: "Herald", Address: "herald@localhost"}
	config.PublicURL = "http://" + c.Listen
	config.Inbox = receiver.inbox
	return serve(ctx, config, func(a *app.App) error {
		if err := keys.setUp(ctx, c.Data, a, receiver.url()); err != nil {
			return fmt.Errorf("set the demo up: %w", err)
		}
		receiver.inbox.SetOwner(keys.ClientID)
		link, err := keys.portalLink(ctx, a)
		if err != nil {
			return fmt.Errorf("make a link into the portal: %w", err)
		}
		_, err = fmt.Fprintf(out.stdout, welcome, a.Address(), receiver.url(), keys.APIKey, link)
		return err
	})
}

const welcome = `Open the portal   %[4]s
Herald is at      http://%[1]s
The inbox is at   %[2]sinbox
API key of Demo   %[3]s

Publish an event, and its webhook arrives below:
  curl -u %[3]s: http://%[1]s/events -H 'Content-Type: application/json' -d '{"type":"Data sync completed","companyId":"8a210b68-6988-11ed-a1eb-0242ac120002","dataConnectionId":"ee2eb431-c0fa-4dc9-93fa-d29781c12bcd","data":{"dataType":"invoices","datasetId":"cd937d46-8e41-43a9-9477-a79158ffd98a"}}'
List the alerts it raised:
  curl -u %[3]s: http://%[1]s/rules/alerts
Show what became of their deliveries:
  curl -u %[3]s: http://%[1]s/deliveries

`

func loadDevKeys(dir string) (*devKeys, error) {
	var keys devKeys
	text, err := os.ReadFile(filepath.Join(dir, devFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		keys.OperatorKey, _ = secret.NewAPIKey()
		return &keys, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &keys); err != nil || keys.OperatorKey == "" {
		return nil, fmt.Errorf("%s has no keys in it; delete it, and herald dev makes a new Demo", filepath.Join(dir, devFile))
	}
	return &keys, nil
}

// setUp makes the client Demo, and a rule for every event type. Where they exist
// already, it sets the rules' webhooks to the inbox.
func (k *devKeys) setUp(ctx context.Context, dir string, a *app.App, inbox string) error {
	operator, err := client.New("http://"+a.Address(), k.OperatorKey)
	if err != nil {
		return err
	}
	if k.APIKey == "" {
		made, err := operator.CreateClient(ctx, demoName)
		if err != nil {
			return err
		}
		k.APIKey, k.ClientID = made.APIKey, made.ID
		if err := k.save(dir); err != nil {
			return err
		}
	}
	demo, err := client.New("http://"+a.Address(), k.APIKey)
	if err != nil {
		return err
	}
	types, err := demo.EventTypes(ctx)
	if err != nil {
		return err
	}
	pointed := make(map[string]client.Rule)
	for rule, err := range demo.AllRules(ctx, client.ListOptions{}) {
		if err != nil {
			return err
		}
		if to := rule.Notifiers.Webhook; to != "" && (to == k.Inbox || to == inbox) {
			pointed[rule.Type] = rule
		}
	}
	for _, t := range types {
		if err := point(ctx, demo, pointed[t.Name], t.Name, inbox); err != nil {
			return err
		}
	}
	k.Inbox = inbox
	return k.save(dir)
}

// portalLink makes a link that signs the developer in to Demo's pages of the portal, once.
func (k *devKeys) portalLink(ctx context.Context, a *app.App) (string, error) {
	operator, err := client.New("http://"+a.Address(), k.OperatorKey)
	if err != nil {
		return "", err
	}
	id := k.ClientID
	if id == uuid.Nil { // dev.json is of a version that did not keep it
		page, err := operator.Clients(ctx, client.Cursor{Limit: 500})
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(page.Results, func(c client.Account) bool { return c.Name == demoName })
		if i < 0 {
			return a.URL() + "/portal/", nil // the key signs in there
		}
		id = page.Results[i].ID
	}
	made, err := operator.CreatePortalLink(ctx, id, client.PortalLinkOptions{ExpiresIn: herald.MaxLinkLife})
	if err != nil {
		return "", err
	}
	link, err := url.Parse(made.URL)
	if err != nil {
		return "", err
	}
	link.Host = a.Address() // --listen may have named port 0
	return link.String(), nil
}

// point makes a rule for an event type, or sets the existing rule's webhook to the
// inbox.
func point(ctx context.Context, demo *client.API, rule client.Rule, eventType, inbox string) error {
	if rule.Notifiers.Webhook == inbox {
		return nil
	}
	rule.Type, rule.Notifiers.Webhook = eventType, inbox
	var err error
	if rule.ID == (client.Rule{}).ID {
		_, err = demo.CreateRule(ctx, rule)
	} else {
		_, err = demo.UpdateRule(ctx, rule)
	}
	return err
}

func (k *devKeys) save(dir string) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, devFile), append(text, '\n'), 0o600)
}

// devInbox is the running built-in receiver of webhooks and mail.
type devInbox struct {
	*http.Server
	inbox   *devinbox.Inbox
	address net.Addr
	mail    net.Listener
}

// Close stops both servers.
func (i devInbox) Close() error { return errors.Join(i.Server.Close(), i.mail.Close()) }

func (i devInbox) url() string { return "http://" + i.address.String() + "/" }

// receive starts the built-in receiver. It prints a line for each webhook and each
// mail.
func (c *devCommand) receive(ctx context.Context, out io.Writer) (devInbox, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Inbox)
	if err != nil {
		return devInbox{}, fmt.Errorf("inbox address %q: %w; choose another with --inbox", c.Inbox, err)
	}
	mails, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return devInbox{}, errors.Join(fmt.Errorf("listen for mail: %w", err), listener.Close())
	}
	handler := devinbox.New(func(r devinbox.Received) {
		if r.To != "" {
			fmt.Fprintf(out, "%s  mail to %s  %s\n", r.At.Local().Format("15:04:05.000"), cli.Clean(r.To), cli.Clean(r.Headers.Get("Subject")))
			return
		}
		kind, message := shown(r)
		fmt.Fprintf(out, "%s  %s  %s  %s\n", r.At.Local().Format("15:04:05.000"), r.Outcome(), cli.Clean(kind), cli.Clean(message))
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(listener)   //nolint:errcheck // ends with Close
	go handler.ServeMail(mails) //nolint:errcheck // ends with Close
	return devInbox{server, handler, listener.Addr(), mails}, nil
}
