package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"herald/internal/webhook"
)

// TestBodyInPartsIsOneBody: a receiver sees one body of a known length, small or large, and after
// a redirect too.
func TestBodyInPartsIsOneBody(t *testing.T) {
	for _, size := range []int{0, 10, 20 << 10, 1 << 20} {
		var (
			mu  sync.Mutex
			got []string
		)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			if err != nil || r.ContentLength != int64(len(text)) {
				t.Errorf("%d bytes with Content-Length %d, %v", len(text), r.ContentLength, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got = append(got, string(text)); len(got) == 1 {
				http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
			}
		}))
		data := []byte(`"` + strings.Repeat("x", size) + `"`)
		sender := newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
		result := sender.Send(t.Context(), webhook.Request{URL: server.URL, Body: []byte(`{"Data":`), Data: data})
		server.Close()
		want := `{"Data":` + string(data) + `}`
		if result.Status != 200 || len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("data of %d bytes: status %d %s, %d requests; want the whole body twice", size, result.Status, result.Error, len(got))
		}
	}
}
