package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// apiKeyPrefix lets people, and scanners for leaked secrets, recognise a key.
const apiKeyPrefix = "hk"

// NewAPIKey returns a new API key of 256 random bits, in lower-case letters and
// digits, and its hash, which is all that should be kept.
func NewAPIKey() (plain string, hash [32]byte) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails, by its documentation
	plain = apiKeyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(bits[:]))
	return plain, HashAPIKey(plain)
}

// HashAPIKey returns what an API key is found by. A key has 256 bits of its
// own, so a plain SHA-256 is enough: there is nothing to guess.
func HashAPIKey(plain string) [32]byte { return sha256.Sum256([]byte(plain)) }
