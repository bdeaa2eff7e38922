package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald/internal/egress"
)

// TestWhatIsRememberedIsBounded: however many addresses and clients there are, and however long.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := New(Options{Guard: egress.New(egress.Options{})})
	defer s.Close()
	for n := range 3 * maxTargets {
		address := fmt.Sprintf("https://%d.example/hook", n)
		for range 2 {
			if got, err := s.target(address); err != nil || got.text != address || got.address != fmt.Sprintf("%d.example:443", n) {
				t.Fatalf("%s: %+v, %v", address, got, err)
			}
			client := uuid.UUID{1, byte(n >> 8), byte(n)}
			if got := s.headers(headersOf{client: client}); got.recorded[DefaultClientIDHeader] != client.String() {
				t.Fatalf("%s: %v", client, got.recorded)
			}
		}
	}
	if got := len(s.known.targets.known); got != maxTargets {
		t.Errorf("%d addresses are remembered, want %d", got, maxTargets)
	}
	if got := len(s.known.headers.known); got != maxHeaders {
		t.Errorf("%d headers are remembered, want %d", got, maxHeaders)
	}
	long := "https://a.example/" + strings.Repeat("x", maxMadeFrom)
	if got, err := s.target(long); err != nil || got.text != long {
		t.Errorf("a long address: %v", err)
	}
	if _, has := s.known.targets.get(long); has {
		t.Error("a long address is remembered")
	}
	secret := headersOf{authorization: strings.Repeat("x", maxMadeFrom+1)}
	if s.headers(secret); s.known.headers.known[secret] != nil {
		t.Error("a long header is remembered")
	}
}
