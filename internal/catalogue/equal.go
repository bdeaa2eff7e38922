package catalogue

import (
	"crypto/sha256"
	"encoding/json"
	"hash"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
)

// numberCost is how many steps it takes to compute with a number, besides its length.
const numberCost = 2

// rat returns a number as an exact fraction. unsupportedNumber has refused those that would
// take long.
func (c *checker) rat(n json.Number) *big.Rat {
	c.budget.take(numberCost + len(n)/8)
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return new(big.Rat) // it cannot be: the decoder took it for a number
	}
	return r
}

func (c *checker) isInteger(n json.Number) bool {
	for i := range len(n) {
		if d := n[i]; d != '-' && (d < '0' || d > '9') {
			return c.rat(n).IsInt()
		}
	}
	return true
}

// equal reports whether two JSON values are the same. Numbers are compared by value.
func (c *checker) equal(a, b any) bool {
	if !c.budget.take(1) {
		return false
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, value := range a {
			other, ok := b[name]
			if !ok || !c.equal(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, c.equal)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || c.rat(a).Cmp(c.rat(b)) == 0)
	case string:
		b, ok := b.(string)
		c.budget.take(len(a) / 64)
		return ok && a == b
	default: // nil and booleans
		return a == b
	}
}

// duplicates returns the indexes of two equal items, the first pair there is.
func (c *checker) duplicates(items []any) (first, second int, found bool) {
	seen := make(map[[sha256.Size]byte]int, min(len(items), 1024))
	h := sha256.New()
	for i, item := range items {
		if !c.budget.take(2) {
			return 0, 0, false
		}
		h.Reset()
		c.digest(h, item)
		sum := [sha256.Size]byte(h.Sum(nil))
		if first, found := seen[sum]; found {
			return first, i, true
		}
		seen[sum] = i
	}
	return 0, 0, false
}

// digest writes a value so that equal values, and no others, are written alike.
func (c *checker) digest(h hash.Hash, value any) {
	if !c.budget.take(2) {
		return
	}
	text := func(kind, s string) {
		c.budget.take(len(s) / 64)
		_, _ = io.WriteString(h, kind+strconv.Itoa(len(s))+":"+s) // a hash takes everything
	}
	switch v := value.(type) {
	case map[string]any:
		text("object", strconv.Itoa(len(v)))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			text("name", name)
			c.digest(h, v[name])
		}
	case []any:
		text("array", strconv.Itoa(len(v)))
		for _, item := range v {
			c.digest(h, item)
		}
	case json.Number:
		text("number", c.rat(v).RatString())
	case string:
		text("string", v)
	case bool:
		text("bool", strconv.FormatBool(v))
	default:
		text("null", "")
	}
}
