package crash_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"herald/client"
	"herald/internal/test/crash"
)

// refusedPublisher returns a publisher of another client whose receiver refuses everything, at once or after
// all retries. So what its open issues must have is known.
func refusedPublisher(t *testing.T, nodes []*node, options ...client.Option) (*client.API, *crash.Publisher) {
	t.Helper()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch rand.IntN(4) {
		case 0:
			w.WriteHeader(http.StatusBadRequest)
		case 1:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(hook.Close)
	account, err := nodes[0].client(operatorKey).CreateClient(t.Context(), "Refused")
	if err != nil {
		t.Fatal(err)
	}
	var clients []*client.API
	for _, n := range nodes {
		clients = append(clients, n.client(account.APIKey, options...))
	}
	if _, err := clients[0].CreateRule(t.Context(), client.Rule{Type: "Sync Completed", Notifiers: client.Notifiers{Webhook: hook.URL}}); err != nil {
		t.Fatal(err)
	}
	return clients[0], &crash.Publisher{
		Clients: func() []*client.API { return clients },
		Event:   client.Event{Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)},
		Every:   20 * time.Millisecond,
	}
}
