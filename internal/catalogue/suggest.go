package catalogue

import (
	"fmt"
	"strings"
	"unicode"
)

// Limits of Suggest, in letters and digits. A longer text is nobody's slip. A shorter one is a part
// of too many names.
const (
	longestGuess   = 100
	shortestPrefix = 4
)

// Suggest returns the name of the type that a wrong spelling most likely means, or "". Case, blanks
// and punctuation do not count. A quarter of the letters may be wrong, or the end may be missing.
func (c *Catalogue) Suggest(spelling string) string {
	if len(spelling) > 4*longestGuess { // at most 4 bytes each
		return ""
	}
	guess := letters(spelling)
	if len(guess) == 0 || len(guess) > longestGuess {
		return ""
	}
	best, least := "", len(guess)/4+1
	begins := ""
	for _, t := range c.types {
		for _, known := range append([]string{t.Name}, t.Spellings...) {
			right := letters(known)
			if n := Distance(guess, right); n < least {
				best, least = t.Name, n
			}
			if begins == "" && len(guess) >= shortestPrefix && strings.HasPrefix(string(right), string(guess)) {
				begins = t.Name
			}
		}
	}
	if best == "" {
		return begins
	}
	return best
}

// Hint returns the sentence that an error about an unknown type ends with: a blank and what Suggest
// returns, or nothing.
func (c *Catalogue) Hint(spelling string) string {
	if name := c.Suggest(spelling); name != "" {
		return fmt.Sprintf(" Did you mean %q?", name)
	}
	return ""
}

// letters returns the letters and digits of a text, in lower case.
func letters(text string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text))
}

// Distance is the least number of insertions, deletions, replacements and exchanges of neighbours
// that turn a into b.
func Distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
