package app

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/internal/secret"
	"herald/internal/store"
)

// TestStopIsNotLoggedAsARequest: a stop that has no time left for the uses of API keys says so. What is meant for the
// caller of a request is not in the log.
func TestStopIsNotLoggedAsARequest(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir(), Box: secret.NewBox(secret.Key{1})})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.KeyUsed(uuid.New())
	var log bytes.Buffer
	ended, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	(&App{store: s, log: slog.New(slog.NewTextHandler(&log, nil))}).saveKeyUses(ended)
	if said := log.String(); !strings.Contains(said, "the stop leaves no time") || strings.Contains(said, "request") || strings.Contains(said, "deadline") || strings.Count(said, "\n") != 1 {
		t.Errorf("the log says %s", said)
	}
	if _, err := s.SaveKeyUses(ended); err == nil || strings.Contains(ofTask(err).Error(), "The request") {
		t.Errorf("a task's error is %v", ofTask(err))
	}
}
