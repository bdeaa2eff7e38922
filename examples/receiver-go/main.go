// Command receiver-go takes Herald's webhooks: it checks the Authorization
// header, answers at once, and handles each alert once.
package main

import (
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
)

type alert struct {
	AlertID  string `json:"AlertId"`
	RuleType string
	Message  string
	Data     json.RawMessage
}

func main() {
	want := []byte(os.Getenv("WEBHOOK_AUTHORIZATION")) // what alertAuthHeader is set to
	var seen sync.Map                                  // use your database: it must outlive a restart
	http.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "not from Herald", http.StatusUnauthorized) // final: no retry
			return
		}
		var a alert
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20)).Decode(&a); err != nil {
			http.Error(w, "not an alert", http.StatusBadRequest) // final: no retry
			return
		}
		if _, again := seen.LoadOrStore(a.AlertID, true); !again { // at least once: the same AlertId may come twice
			log.Printf("%s: %s", a.RuleType, a.Message)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:9000", nil))
}
