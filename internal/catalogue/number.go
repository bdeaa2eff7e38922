package catalogue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxDigits bounds a number's characters and its decimal exponent, where a schema checks
// the number. The schema library computes with exact fractions. The eight bytes 1e999999
// take it 20 ms, and past 1e1000000 it dereferences a nil pointer. Every float64 in its
// usual form is within the bound.
const maxDigits = 400

// unsupportedNumber finds a number in a decoded JSON value that exceeds maxDigits. It
// returns the number's path from a root.
func unsupportedNumber(root string, value any) (path string, found bool) {
	steps, found := stepsFromNumber(value)
	steps = append(steps, root)
	slices.Reverse(steps)
	return strings.Join(steps, "."), found
}

// stepsFromNumber returns the steps of the path, the innermost first.
func stepsFromNumber(value any) (steps []string, found bool) {
	switch v := value.(type) {
	case json.Number:
		return nil, !computable(v.String())
	case []any:
		for i, item := range v {
			if steps, found := stepsFromNumber(item); found {
				return append(steps, strconv.Itoa(i)), true
			}
		}
	case map[string]any:
		for name, item := range v {
			if steps, found := stepsFromNumber(item); found {
				return append(steps, name), true
			}
		}
	}
	return nil, false
}

func computable(number string) bool {
	if len(number) > maxDigits {
		return false
	}
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return true
	}
	exponent, err := strconv.Atoi(number[i+1:])
	return err == nil && -maxDigits <= exponent && exponent <= maxDigits
}
