// Command receiver-go takes Herald's webhooks: it checks the Authorization
// header, answers at once, and handles each alert once.
package main

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

type alert struct {
	AlertID  string `json:"AlertId"`
	RuleType string
	Message  string
	Data     json.RawMessage
}

func main() {
	want := []byte(os.Getenv("WEBHOOK_AUTHORIZATION")) // what alertAuthHeader is set to
	if len(want) == 0 {
		log.Fatal("WEBHOOK_AUTHORIZATION is empty: set it to your alertAuthHeader, or anybody can send you alerts")
	}
	var seen sync.Map // use your database: it must outlive a restart
	http.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "not from Herald", http.StatusUnauthorized) // final: no retry
			return
		}
		var a alert
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20)).Decode(&a)
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge) // final: no retry
			return
		}
		if err != nil || a.AlertID == "" {
			http.Error(w, "not an alert", http.StatusBadRequest) // final: no retry
			return
		}
		// At least once: the same AlertId may come twice. If your own work can fail, record the id
		// together with its result, and answer 503 when it fails: Herald sends the alert again.
		if _, again := seen.LoadOrStore(a.AlertID, true); !again {
			log.Printf("%s: %s", a.RuleType, a.Message)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:9000"), ReadTimeout: 30 * time.Second}
	log.Fatal(server.ListenAndServe())
}
