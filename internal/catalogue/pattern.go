package catalogue

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxPatterns bounds the instructions of all patterns of one schema. A pattern of seven
// characters, x{1000}, has a thousand; 64 KiB of them would take hundreds of megabytes.
const maxPatterns = 20_000

// pattern is a compiled pattern of a schema.
type pattern struct {
	*regexp.Regexp
	size int // instructions
}

// cost returns how many steps a match of a text takes. In the worst case Go's regexp follows
// every instruction at every byte.
func (p pattern) cost(text string) int { return 1 + len(text)*p.size/16 }

// patterns compiles the patterns of one schema, within maxPatterns.
type patterns struct {
	total    int
	tooLarge bool
	known    map[string]pattern // the library compiles each twice: to validate the schema, too
	done     bool               // the schema is compiled: what comes now are texts of the format regex
}

// compile is the library's engine for patterns. Once the schema is compiled it is safe for
// concurrent use.
func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	if known, ok := p.known[text]; ok {
		return known, nil
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	size := instructions(parsed)
	if total := p.total + size; size > maxPatterns || !p.done && total > maxPatterns {
		if !p.done {
			p.tooLarge = true
		}
		return nil, fmt.Errorf("more than %d parts, where a repetition such as x{1000} counts as often as it repeats", maxPatterns)
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	made := pattern{compiled, size}
	if !p.done {
		if p.known == nil {
			p.known = make(map[string]pattern)
		}
		p.total += size
		p.known[text] = made
	}
	return made, nil
}

// instructions estimates the length of a pattern's program, with repetitions written out,
// before anything is written out. Beyond maxPatterns it is only some number above.
func instructions(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		if n += instructions(sub); n > maxPatterns {
			return n
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1) + 1
	}
	return n
}
