package intake_test

import (
	"context"
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

func (f *fake) ClientState(context.Context, uuid.UUID) (work.ClientState, error) { return f.state, nil }
func (f *fake) Version(context.Context, uuid.UUID) (int64, error)                { return 1, nil }
func (f *fake) EventTypes(context.Context) ([]herald.EventType, error)           { return nil, nil }
func (f *fake) KeyByHash(context.Context, [32]byte) (herald.Key, error)          { return herald.Key{}, nil }
func (f *fake) Reserve([]work.PreparedEvent)                                     {}
func (f *fake) AfterCommit([]work.PreparedEvent, func(int) bool)                 {}

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
	f := &fake{state: work.ClientState{Client: herald.Client{ID: client, Version: 1, Profile: herald.Profile{Name: "Acme"}}}}
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
