package secret

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
)

// TestOperatorKeyThatCanBeGuessedIsRefused: and so is one that cannot be sent.
func TestOperatorKeyThatCanBeGuessedIsRefused(t *testing.T) {
	for key, says := range map[string]string{
		"secret":                               "at least 32",
		strings.Repeat("k", 64):                "guessed",
		strings.Repeat("0", 32):                "guessed",
		strings.Repeat("password", 4):          "guessed",
		strings.Repeat("correct-horse", 3):     "guessed",
		strings.Repeat("0123456789", 4):        "guessed",
		strings.Repeat("abc123!?", 40):         "guessed",
		"abcdefghijklmnopqrstuvwxyz0123456789": "guessed",
		"zyxwvutsrqponmlkjihgfedcba9876543210": "guessed",
		"3f9a1c5e7b2d4860:a1c5e7b2d48603f9a1":  "colon",
		"3f9a1c5e7b2d4860 a1c5e7b2d48603f9a1":  "blank",
		"3f9a1c5e7b2d4860a1c5e7b2d48603f9a1\n": "blank",
		"3f9a1c5e7b2d4860é1c5e7b2d48603f9a1b2": "ASCII",
	} {
		if err := CheckOperatorKey(key); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), key) {
			t.Errorf("%q: %v, want %q", key, err, says)
		}
	}
	for range 10_000 {
		var bits [16]byte
		rand.Read(bits[:])
		plain, _ := NewAPIKey()
		for _, key := range []string{hex.EncodeToString(bits[:]), plain} {
			if err := CheckOperatorKey(key); err != nil {
				t.Fatalf("the random key %q: %v", key, err)
			}
		}
	}
}
