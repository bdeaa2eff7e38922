package app_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald/client"
)

// TestTheOperatorHelpsAClient does what support does: it finds a client's failed delivery, sends it again
// and revokes a key, all with the operator's key. Another client's key finds nothing.
func TestTheOperatorHelpsAClient(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	rule := f.rule(hook.URL, uuid.Nil)
	receipt := f.publish(event())
	f.ended(receipt)
	rival, err := f.operator.CreateClient(t.Context(), "Rival")
	if err != nil {
		t.Fatal(err)
	}
	id := receipt.AlertIDs[0]
	about := f.operator.For(f.account.ID)
	failed := client.DeliveryFilter{State: "failed"}
	reads := map[string]func(c *client.API) (int, error){
		"deliveries": func(c *client.API) (int, error) {
			p, err := c.Deliveries(t.Context(), failed)
			return len(p.Results), err
		},
		"delivery": func(c *client.API) (int, error) { d, err := c.Delivery(t.Context(), id); return len(d.Attempts), err },
		"events": func(c *client.API) (int, error) {
			p, err := c.Events(t.Context(), client.EventFilter{})
			return len(p.Results), err
		},
		"event": func(c *client.API) (int, error) {
			e, err := c.Event(t.Context(), receipt.EventID)
			return len(e.Alerts), err
		},
		"alerts": func(c *client.API) (int, error) {
			l, err := c.Alerts(t.Context(), client.ListOptions{})
			return l.TotalResults, err
		},
		"alert": func(c *client.API) (int, error) {
			a, err := c.Alert(t.Context(), id)
			return strings.Count(a.ID.String(), id.String()), err
		},
		"rule's alerts": func(c *client.API) (int, error) {
			l, err := c.RuleAlerts(t.Context(), rule.ID, client.ListOptions{})
			return l.TotalResults, err
		},
		"rules": func(c *client.API) (int, error) {
			l, err := c.Rules(t.Context(), client.ListOptions{})
			return l.TotalResults, err
		},
		"lost": func(c *client.API) (int, error) {
			r, err := c.CountLost(t.Context(), client.RecoverFilter{Company: company})
			return r.Count, err
		},
		"keys": func(c *client.API) (int, error) { k, err := c.Keys(t.Context()); return len(k), err },
	}
	for what, read := range reads {
		if n, err := read(about); n != 1 || err != nil {
			t.Errorf("the operator finds %d of %s, %v; want one", n, what, err)
		}
		var answer *client.Error
		if n, err := read(f.as(rival.APIKey).For(f.account.ID)); !errors.As(err, &answer) || answer.StatusCode != 404 || n != 0 {
			t.Errorf("another client finds %d of %s, %v; want a 404", n, what, err)
		}
	}
	for _, of := range []*client.API{about, f.operator} { // a delivery's client is found by itself
		if _, err := of.Redeliver(t.Context(), id); err != nil {
			t.Errorf("redeliver: %v", err)
		}
	}
	if r, err := about.Recover(t.Context(), client.RecoverFilter{Type: "sync-failed"}); err != nil {
		t.Errorf("recover: %+v, %v", r, err)
	}
	second, err := f.operator.CreateClientKey(t.Context(), f.account.ID, "leaked", "")
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := f.operator.ClientKeys(t.Context(), f.account.ID); len(keys) != 2 || err != nil {
		t.Errorf("%d keys, %v; want two", len(keys), err)
	}
	if err := f.operator.DeleteClientKey(t.Context(), f.account.ID, second.ID); err != nil {
		t.Error(err)
	}
	if _, err := f.as(second.APIKey).Rules(t.Context(), client.ListOptions{}); err == nil {
		t.Error("the revoked key still counts")
	}
	changes, err := f.Changes(t.Context(), client.ChangeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range changes.Results {
		said = append(said, c.Action+" by "+c.Actor)
	}
	for _, want := range []string{"apiKey.deleted by operator", "delivery.redelivered by operator"} {
		if !slices.Contains(said, want) {
			t.Errorf("the audit log has %v and not %s", said, want)
		}
	}
}

// TestStatusOfTheService asks for the status before and after a backup, and with a client's key.
func TestStatusOfTheService(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	f.ended(f.publish(event()))
	s, err := f.operator.Status(t.Context())
	if err != nil || s.Version != "test" || s.Nodes != 1 || s.Backlog == nil || s.Backlog.Pending != 0 || s.Database == nil || s.Database.Kind != "SQLite" || s.Database.Bytes == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if !slices.Contains(s.Attention, "no backup was taken with herald backup") {
		t.Errorf("attention: %q", s.Attention)
	}
	archive, err := f.operator.Backup(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if _, err := io.Copy(io.Discard, archive); err != nil {
		t.Fatal(err)
	}
	if s, err := f.operator.Status(t.Context()); err != nil || s.LastBackup == nil || len(s.Attention) != 0 {
		t.Errorf("after a backup: %+v, %v", s, err)
	}
	if _, err := f.Status(t.Context()); err == nil {
		t.Error("a client's key sees the status")
	}
}
