package native

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/intake"
	"herald/internal/webhook"
	"herald/internal/work"
)

var ownTypes = []herald.EventType{{Name: "bench", Message: "Benchmark event", Company: true}}

// instant is a client with two rules, and a store and an engine that take no time.
type instant struct {
	client work.ClientState
	key    herald.Key
}

func (i *instant) RulesAfter(context.Context, uuid.UUID, uuid.UUID) ([]herald.Rule, bool, error) {
	return nil, false, nil
}

func (i *instant) MatchingRules(context.Context, uuid.UUID, string, uuid.UUID, int) ([]herald.Rule, error) {
	return nil, nil
}

func (i *instant) RuleByID(context.Context, uuid.UUID, uuid.UUID) (herald.Rule, error) {
	return herald.Rule{}, nil
}
func (i *instant) ClientState(context.Context, uuid.UUID, int64) (work.ClientState, error) {
	return i.client, nil
}
func (i *instant) Revision(context.Context, uuid.UUID) (int64, error) {
	return i.client.Client.Revision, nil
}
func (i *instant) EventTypes(context.Context) ([]herald.EventType, error) {
	return ownTypes, nil
}
func (i *instant) KeyByHash(context.Context, [32]byte) (herald.Key, error) { return i.key, nil }
func (*instant) Reserve([]work.PreparedEvent)                              {}
func (*instant) ReserveSoon(context.Context, []work.PreparedEvent)         {}
func (*instant) AfterCommit([]work.PreparedEvent, func(int) bool)          {}
func (*instant) LockClients(context.Context, []uuid.UUID) (func(), error)  { return func() {}, nil }
func (*instant) Accept(events []work.PreparedEvent) ([]herald.Receipt, error) {
	receipts := make([]herald.Receipt, len(events))
	for i := range events {
		receipts[i] = herald.Receipt{EventID: events[i].Event.ID, AlertCount: 1, AlertIDs: []uuid.UUID{events[i].Alerts[0].ID}}
	}
	return receipts, nil
}

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// newPublishHandler returns the API as a whole with a store that takes no time, and the key of its client.
func newPublishHandler(b *testing.B) (http.Handler, string) {
	client := herald.NewID()
	i := &instant{key: herald.Key{ID: herald.NewID(), ClientID: client, Role: herald.Administrator}}
	i.client = work.ClientState{Client: herald.Client{ID: client, Version: 1, Revision: 1, Profile: herald.Profile{Name: "Bench"}}, KeyIDs: []uuid.UUID{i.key.ID}, EventTypes: ownTypes}
	for _, kind := range []string{"bench", "Data sync completed"} {
		i.client.Rules = append(i.client.Rules, herald.Rule{ID: herald.NewID(), ClientID: client, Type: kind, PostedType: kind, Webhook: "http://127.0.0.1:8080/hook"})
	}
	clients, err := clientcache.New(i, catalogue.Options{})
	if err != nil {
		b.Fatal(err)
	}
	registry, mux := prometheus.NewRegistry(), http.NewServeMux()
	f := new(fake)
	if err := Register(Options{
		Auth: api.NewAuth(clients, []string{"operator"}), Publisher: intake.New(clients, i, i, webhook.Origin), Mux: mux, API: openapi.New(mux, "1"),
		Events: f, Explainer: f, Deliveries: f, Owners: f, Sender: f, Rules: f, Clients: f, Keys: f, Audit: f, EventTypes: f, Backups: f,
		PortalLinks: f, Sessions: f, Statistics: f, Issues: f, Notifications: f,
	}); err != nil {
		b.Fatal(err)
	}
	return api.NewMiddleware(mux, slog.New(slog.NewTextHandler(io.Discard, nil)), registry), "herald_key"
}

// BenchmarkPublish measures POST /events without the network and the database: reading, authenticating, decoding,
// planning, rendering and answering.
func BenchmarkPublish(b *testing.B) {
	own := `{"type":"bench","companyId":"019ab0c1-0000-7000-8000-000000000001","data":{"n":17}}`
	builtIn := `{"type":"Data sync completed","companyId":"22222222-2222-4222-8222-222222222222","dataConnectionId":"33333333-3333-4333-8333-333333333333",` +
		`"data":{"dataType":"invoices","datasetId":"44444444-4444-4444-8444-444444444444"},"idempotencyKey":"k-1"}`
	array := func(event string) string {
		return "[" + string(bytes.Join(bytes.Split(bytes.Repeat([]byte(event+"\n"), 100), []byte("\n"))[:100], []byte(","))) + "]"
	}
	for _, run := range []struct{ name, body string }{{"own", own}, {"built-in", builtIn}, {"100 own", array(own)}, {"100 built-in", array(builtIn)}} {
		b.Run(run.name, func(b *testing.B) {
			handler, key := newPublishHandler(b)
			head := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(key))}}
			r, err := http.NewRequest(http.MethodPost, "/events", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header, r.RemoteAddr, r.RequestURI, r.ContentLength = head, "192.0.2.1:4711", "/events", int64(len(run.body))
			body := bytes.NewReader(nil)
			b.ReportAllocs()
			for b.Loop() {
				body.Reset([]byte(run.body))
				r.Body = io.NopCloser(body)
				w := discard{header: make(http.Header)}
				if handler.ServeHTTP(&w, r); w.status != http.StatusAccepted {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
