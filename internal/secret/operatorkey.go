package secret

import (
	"fmt"
	"math"
)

// MinOperatorKey is the length of the shortest operator key, in characters. It excludes keys that
// people invent, such as "secret".
const MinOperatorKey = 32

// minKeyBits is the least estimated randomness of an operator key. 32 random hexadecimal digits
// are estimated at about 110 bits, "password" four times at less than 30.
const minKeyBits = 64

// CheckOperatorKey returns an error for a key that cannot be sent or can be guessed. The error does
// not contain the key.
func CheckOperatorKey(key string) error {
	if len(key) < MinOperatorKey {
		return fmt.Errorf("the key has %d characters; it needs at least %d", len(key), MinOperatorKey)
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c == ':':
			return fmt.Errorf("character %d of the key is a colon, which separates user and password in an Authorization header; leave it out", i+1)
		case c <= ' ' || c > '~':
			return fmt.Errorf("character %d of the key is a blank, a control character or not ASCII; use letters and digits", i+1)
		}
	}
	if bits := randomness(key); bits < minKeyBits {
		return fmt.Errorf("the key can be guessed: it repeats itself or counts up, and has about %.0f random bits of the %d that it needs", bits, minKeyBits)
	}
	return nil
}

// randomness estimates how many random bits a key has. It is the entropy of the frequencies of its
// characters, times the number of characters that do not continue a repetition or a sequence.
func randomness(key string) float64 {
	var counts [256]float64
	for i := range len(key) {
		counts[key[i]]++
	}
	entropy := 0.0
	for _, n := range counts {
		if n > 0 {
			entropy -= n / float64(len(key)) * math.Log2(n/float64(len(key)))
		}
	}
	seen := make(map[string]bool)
	unforeseen := 2 // the first two characters
	for i := 2; i < len(key); i++ {
		step, before := int(key[i])-int(key[i-1]), int(key[i-1])-int(key[i-2])
		isSequence := step == before && -1 <= step && step <= 1
		if three := key[i-2 : i+1]; !seen[three] && !isSequence {
			seen[three] = true
			unforeseen++
		}
	}
	return entropy * float64(unforeseen)
}
