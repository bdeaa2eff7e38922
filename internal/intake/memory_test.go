package intake_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/intake"
	"herald/internal/webhook"
	"herald/internal/work"
)

// fake is a client with rules, a store that accepts everything, and an engine that sends nothing.
type fake struct {
	state    work.ClientState
	accepted []work.PreparedEvent
	during   func() // called while the store accepts
}

func (f *fake) ClientState(context.Context, uuid.UUID, int64) (work.ClientState, error) {
	return f.state, nil
}
func (f *fake) RulesAfter(context.Context, uuid.UUID, uuid.UUID) ([]herald.Rule, bool, error) {
	return nil, false, nil
}

func (f *fake) MatchingRules(context.Context, uuid.UUID, string, uuid.UUID, int) ([]herald.Rule, error) {
	return nil, nil
}

func (f *fake) RuleByID(context.Context, uuid.UUID, uuid.UUID) (herald.Rule, error) {
	return herald.Rule{}, nil
}
func (f *fake) Revision(context.Context, uuid.UUID) (int64, error) {
	return f.state.Client.Revision, nil
}
func (f *fake) EventTypes(context.Context) ([]herald.EventType, error)   { return nil, nil }
func (f *fake) KeyByHash(context.Context, [32]byte) (herald.Key, error)  { return herald.Key{}, nil }
func (f *fake) Reserve([]work.PreparedEvent)                             {}
func (f *fake) ReserveSoon(context.Context, []work.PreparedEvent)        {}
func (f *fake) LockClients(context.Context, []uuid.UUID) (func(), error) { return func() {}, nil }
func (f *fake) AfterCommit([]work.PreparedEvent, func(int) bool)         {}

func (f *fake) Accept(events []work.PreparedEvent) ([]herald.Receipt, error) {
	f.accepted = append(f.accepted, events...)
	if f.during != nil {
		f.during()
	}
	receipts := make([]herald.Receipt, len(events))
	for i := range events {
		receipts[i].EventID, receipts[i].AlertCount = events[i].Event.ID, len(events[i].Alerts)
	}
	return receipts, nil
}

func newIntake(t *testing.T, rules ...herald.Rule) (*intake.Intake, *fake) {
	t.Helper()
	client := uuid.New()
	f := &fake{state: work.ClientState{Client: herald.Client{ID: client, Version: 1, Revision: 1, Profile: herald.Profile{Name: "Acme"}}}}
	for _, r := range rules {
		r.ID, r.ClientID, r.Type = herald.NewID(), client, "Sync Completed"
		f.state.Rules = append(f.state.Rules, r)
	}
	clients, err := clientcache.New(f, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return intake.New(clients, f, f, webhook.Origin), f
}

// publication returns an event of the client with data of some bytes.
func (f *fake) publication(size int) herald.Publication {
	return herald.Publication{Event: herald.Event{
		ClientID: f.state.Client.ID, Type: "Sync Completed", CompanyID: uuid.New(),
		Data: []byte(`{"syncId":"s","syncType":"t","more":"` + strings.Repeat("x", size) + `"}`),
	}}
}

func same(n int, r herald.Rule) []herald.Rule {
	all := make([]herald.Rule, n)
	for i := range all {
		all[i] = r
	}
	return all
}

var operator = herald.Caller{Operator: true}

// TestRulesShareTheDataOfAnEvent: a copy for each of 1,000 rules would take a gigabyte.
func TestRulesShareTheDataOfAnEvent(t *testing.T) {
	in, f := newIntake(t, same(1000, herald.Rule{Webhook: "https://r.example/hook"})...)
	p := f.publication(1 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	receipts, err := in.Publish(t.Context(), operator, []herald.Publication{p})
	runtime.ReadMemStats(&after)
	if err != nil || receipts[0].AlertCount != 1000 {
		t.Fatalf("%v, %v; want 1,000 alerts", receipts, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
		t.Errorf("publishing 1 MiB on 1,000 rules allocated %d MiB, want at most 32", took>>20)
	}
}

// boxes returns a rule with n mailboxes.
func boxes(n int) herald.Rule {
	r := herald.Rule{}
	for i := range n {
		r.Emails = append(r.Emails, fmt.Sprintf("box%d@acme.example", i))
	}
	return r
}

// TestFanOutIsBounded: what one request makes is counted before anything is rendered.
func TestFanOutIsBounded(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, test := range []struct {
		name    string
		rules   []herald.Rule
		events  int
		message string
		index   int // of the event that is refused; -1: none
		want    string
	}{
		{"as many as allowed", same(200, boxes(50)), 1, "", -1, ""},
		{"one more", append(same(200, boxes(50)), herald.Rule{}), 1, "", 0, "10001 deliveries"},
		{"rules without receivers", same(10_001, herald.Rule{}), 1, "", 0, "10001 deliveries"},
		{"more than can be counted in ids", same(70_000, herald.Rule{}), 1, "", 0, "more than 65535 rules"},
		{"mailboxes", same(2000, boxes(50)), 20, "", 0, "100000 deliveries"},
		{"several events", same(100, boxes(50)), 3, "", 2, "15000 deliveries"},
		{"long messages", same(9000, herald.Rule{}), 1, long, 0, "bytes for its alerts"},
		{"several long messages", same(1000, herald.Rule{}), 10, long, 7, "bytes for events and alerts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, f := newIntake(t, test.rules...)
			var pubs []herald.Publication
			for range test.events {
				p := f.publication(10)
				p.Message = test.message
				pubs = append(pubs, p)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := in.Publish(t.Context(), operator, pubs)
			runtime.ReadMemStats(&after)
			if test.index < 0 {
				if err != nil || len(f.accepted) != test.events {
					t.Fatalf("%d events were accepted, %v; want %d", len(f.accepted), err, test.events)
				}
				return
			}
			var item *herald.ItemError
			if !errors.As(err, &item) || item.Index != test.index || herald.CodeOf(err) != herald.CodeConflict || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want a conflict about event %d that says %q", err, test.index, test.want)
			}
			if len(f.accepted) > 0 {
				t.Errorf("%d events were accepted", len(f.accepted))
			}
			// It is planned twice, because the cached rules may have been old.
			if took := after.TotalAlloc - before.TotalAlloc; took > 256<<20 {
				t.Errorf("the refusal allocated %d MiB", took>>20)
			}
		})
	}
}

// TestPreparedEventsAreBoundedTogether: many small requests on many rules render much at once.
func TestPreparedEventsAreBoundedTogether(t *testing.T) {
	in, f := newIntake(t, same(5000, herald.Rule{})...)
	p := f.publication(10)
	p.Message = strings.Repeat("x", 2000) // some 22 MiB for its alerts
	var codes []herald.Code
	depth := 0
	f.during = func() {
		if depth++; depth < 4 {
			_, err := in.Publish(t.Context(), operator, []herald.Publication{p})
			codes = append(codes, herald.CodeOf(err))
		}
	}
	if _, err := in.Publish(t.Context(), operator, []herald.Publication{p}); err != nil {
		t.Fatal(err)
	}
	if len(codes) != 2 || codes[0] != herald.CodeUnavailable || codes[1] != "" {
		t.Errorf("the requests beside two others, innermost first: %q; want one refused and one taken", codes)
	}
	f.during = nil
	if _, err := in.Publish(t.Context(), operator, []herald.Publication{p}); err != nil {
		t.Errorf("after the others: %v; want the memory given back", err)
	}
}
