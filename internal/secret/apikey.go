package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// apiKeyPrefix lets people, and scanners for leaked secrets, recognise an API key.
const apiKeyPrefix = "hk"

// NewAPIKey returns a new API key and its hash. The key has 256 random bits, in lower-case
// letters and digits. Store only the hash.
func NewAPIKey() (plain string, hash [32]byte) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails, by its documentation
	plain = apiKeyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(bits[:]))
	return plain, HashAPIKey(plain)
}

// HashAPIKey returns the hash that an API key is stored and found by. A key has 256 random
// bits and cannot be guessed, so a plain SHA-256 is enough.
func HashAPIKey(plain string) [32]byte { return sha256.Sum256([]byte(plain)) }

// NewToken returns a random token of 256 bits for a session or a portal link, and the hash that it
// is stored and found by.
func NewToken() (plain string, hash [32]byte) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails, by its documentation
	plain = base64.RawURLEncoding.EncodeToString(bits[:])
	return plain, HashToken(plain)
}

// HashToken returns the hash of a token. Like an API key it cannot be guessed.
func HashToken(plain string) [32]byte { return sha256.Sum256([]byte(plain)) }

// Fingerprint returns what the database knows an operator's key by. It is no hash that
// authenticates, so a reader of the database cannot use it.
func Fingerprint(operatorKey string) [32]byte {
	hash := HashAPIKey(operatorKey)
	return sha256.Sum256(append([]byte("operator key "), hash[:]...))
}
