// Package consent asks receivers whether they may be called, and remembers what they answer. It
// decides when to ask, and bounds the requests to a receiver that allows only so many a minute.
// internal/webhook asks, internal/store remembers, internal/delivery lets deliveries wait.
package consent

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/pace"
	"herald/internal/safetext"
	"herald/internal/webhook"
	"herald/internal/work"
)

// Times.
const (
	// validFor is how long a consent is valid. Then the receiver is asked again.
	validFor = 30 * 24 * time.Hour
	// trustFor is how long this node does not ask the database about a consent.
	trustFor = 10 * time.Minute
	// firstPause and longestPause are between two questions without consent. The pauses double.
	firstPause   = time.Minute
	longestPause = time.Hour
	// afterOwnFault is after a question that a fault of this service prevented.
	afterOwnFault = 10 * time.Second
	// leaseSlack is how long after the timeout of a question another node may ask.
	leaseSlack = 5 * time.Second
)

// asksPerSecond bounds the questions for one client to one origin, on this node. Without it, a client
// with a rule for each of many paths could flood a receiver with questions.
const asksPerSecond = 1

// maxWhy bounds in bytes why a receiver does not consent. Deliveries that wait show it.
const maxWhy = 500

// maxKnown bounds how many consents are in memory. Over it, any one is dropped.
const maxKnown = 10000

// Store remembers consents for all nodes.
type Store interface {
	// Consent returns what is known. Mine is true for one caller within lease, which shall ask.
	Consent(ctx context.Context, client uuid.UUID, receiver string, lease time.Duration) (work.Consent, error)
	// SaveConsent stores an answer.
	SaveConsent(ctx context.Context, client uuid.UUID, receiver string, c work.Consent) error
	// ReleaseConsented lets what waits in the lane for a consent go on.
	ReleaseConsented(ctx context.Context, lane work.Lane) error
}

// Asker asks one receiver.
type Asker interface {
	AskConsent(ctx context.Context, address, origin string, perMinute int) webhook.Consent
}

// Options configure a Checker. Store, Asker, Origin and Timeout are required.
type Options struct {
	Store Store
	Asker Asker
	// Origin is the DNS name that this service gives itself.
	Origin string
	// PerMinute is how many requests a minute a receiver is asked for; 0 asks for no rate.
	PerMinute int
	// Timeout bounds a question.
	Timeout time.Duration
	Log     *slog.Logger
}

// Checker is safe for concurrent use.
type Checker struct {
	Options
	asks  *pace.Limiter[key]
	rates *pace.Limiter[key]

	mu    sync.Mutex
	known map[key]given
}

// key is a client and a receiver, or a client and an origin.
type key struct {
	client uuid.UUID
	hash   [sha256.Size]byte
}

// given is a consent in memory.
type given struct {
	until     time.Time
	perMinute int
}

// New returns a Checker.
func New(o Options) *Checker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Checker{Options: o, asks: pace.New[key](), rates: pace.New[key](), known: make(map[key]given)}
}

// Verdict says whether a webhook may be called now. The zero value says yes.
type Verdict struct {
	// Wait is how long to wait before it is checked again; 0 if the webhook may be called.
	Wait time.Duration
	// Reason is herald.ReasonNoConsent, or herald.ReasonAttemptLimit if the receiver allows no
	// more requests for now.
	Reason herald.Reason
	// Why says it in a sentence that begins with the Reason.
	Why string
	// Failure says why the receiver could not be asked just now, such as herald.ReasonTimeout.
	Failure herald.Reason
	// Unknown is true if it is not known yet whether the receiver consents: the question waits for
	// its turn, or is under way.
	Unknown bool
	// Never is true if the Failure is that the address is called in no case.
	Never bool
}

// Check reports whether a delivery of the lane may call an address now. It asks the receiver if that
// is due. If ctx is cancelled meanwhile, nothing is held against the receiver. The error is that of the
// Store.
func (c *Checker) Check(ctx context.Context, lane work.Lane, address string) (Verdict, error) {
	receiver, err := webhook.Receiver(address)
	if err != nil {
		return Verdict{}, nil // the attempt fails with the reason
	}
	k := key{lane.Client, sha256.Sum256([]byte(receiver))}
	if consent, known := c.recall(k); known {
		return c.withinRate(k, consent.perMinute), nil
	}
	found, err := c.Store.Consent(ctx, lane.Client, receiver, c.Timeout+leaseSlack)
	if err != nil {
		return Verdict{}, err
	}
	asked, failure, unknown := found.Mine, herald.ReasonNone, found.Failures == 0
	if asked {
		if found, failure, unknown, err = c.ask(ctx, lane, address, receiver, found); err != nil {
			return Verdict{}, err
		}
	}
	if found.For == 0 {
		why := work.NoConsent
		if found.Why != "" {
			why += ": " + found.Why
		}
		return Verdict{Wait: max(found.AskIn, time.Second), Reason: herald.ReasonNoConsent, Why: why, Failure: failure, Unknown: unknown, Never: neverCalled(failure)}, nil
	}
	c.remember(k, given{time.Now().Add(min(found.For, trustFor)), found.PerMinute})
	if asked {
		// Only now: a delivery that waits from here on finds the consent in memory, see Waits.
		if err := c.Store.ReleaseConsented(ctx, lane); err != nil {
			return Verdict{}, err
		}
	}
	return c.withinRate(k, found.PerMinute), nil
}

// ask asks the receiver and stores its answer. unknown is true if the receiver did not get the question.
func (c *Checker) ask(ctx context.Context, lane work.Lane, address, receiver string, before work.Consent) (next work.Consent, failure herald.Reason, unknown bool, err error) {
	origin, err := webhook.Origin(address)
	if err != nil {
		return before, herald.ReasonAddress, false, err
	}
	next, unknown = work.Consent{Failures: before.Failures, Why: before.Why}, true
	if next.AskIn = c.asks.Take(key{lane.Client, sha256.Sum256([]byte(origin))}, asksPerSecond, time.Now()); next.AskIn == 0 {
		answer := c.Asker.AskConsent(ctx, address, c.Origin, c.PerMinute)
		answer.Why = safetext.Line(answer.Why, maxWhy) // it may have the texts of a certificate
		failure = answer.Reason
		if errors.Is(ctx.Err(), context.Canceled) {
			next.AskIn = time.Second // the service stops; it says nothing of the receiver
		} else {
			next = after(before.Failures, answer)
			unknown = next.Failures == before.Failures
			c.Log.Info("a receiver was asked for its consent", "clientId", lane.Client, "origin", origin,
				"consents", answer.Given, "perMinute", answer.PerMinute, "why", answer.Why)
		}
	}
	return next, failure, unknown, c.Store.SaveConsent(context.WithoutCancel(ctx), lane.Client, receiver, next)
}

// after returns what is known after an answer.
func after(failures int, answer webhook.Consent) work.Consent {
	switch {
	case answer.Given:
		return work.Consent{For: validFor, PerMinute: answer.PerMinute}
	case neverCalled(answer.Reason):
		return work.Consent{Failures: failures, Why: answer.Why} // each delivery fails by itself
	case answer.Reason == herald.ReasonLocal: // it was not asked, by a fault of this service
		return work.Consent{AskIn: afterOwnFault, Failures: failures, Why: answer.Why}
	case answer.Wait > 0: // it was not asked
		return work.Consent{AskIn: answer.Wait, Failures: failures, Why: answer.Why}
	default:
		pause := longestPause
		if failures < 10 { // a shift of more would not fit
			pause = min(firstPause<<failures, longestPause)
		}
		return work.Consent{AskIn: pause, Failures: failures + 1, Why: answer.Why}
	}
}

// neverCalled reports whether the service calls an address in no case, with consent or without.
func neverCalled(r herald.Reason) bool {
	return r == herald.ReasonNotAllowed || r == herald.ReasonAddress
}

func (c *Checker) withinRate(k key, perMinute int) Verdict {
	if perMinute == 0 {
		return Verdict{}
	}
	wait := c.rates.Take(k, float64(perMinute)/60, time.Now())
	if wait == 0 {
		return Verdict{}
	}
	return Verdict{Wait: wait, Reason: herald.ReasonAttemptLimit, Why: string(herald.ReasonAttemptLimit) + ": the receiver allows no more requests a minute (WebHook-Allowed-Rate)"}
}

// Waits is called when a delivery waits in the database because of a Verdict without consent. If the
// receiver has consented meanwhile, the delivery goes on at once.
func (c *Checker) Waits(ctx context.Context, lane work.Lane, address string) error {
	receiver, err := webhook.Receiver(address)
	if err != nil {
		return nil
	}
	if _, known := c.recall(key{lane.Client, sha256.Sum256([]byte(receiver))}); !known {
		return nil
	}
	return c.Store.ReleaseConsented(ctx, lane)
}

func (c *Checker) recall(k key) (given, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	consent, known := c.known[k]
	if known && !time.Now().Before(consent.until) {
		delete(c.known, k)
		known = false
	}
	return consent, known
}

func (c *Checker) remember(k key, consent given) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.known {
		if len(c.known) < maxKnown {
			break
		}
		delete(c.known, other)
	}
	c.known[k] = consent
}
