package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"herald"
)

// maxDepth bounds the nesting of a body's objects and arrays. Several receivers' JSON
// libraries stop at a depth of 64 to 512. Deeper data would be accepted here and fail
// there.
const maxDepth = 60

// cursor reads a body strictly and in one pass. Names of members match exactly, each name occurs
// once, and values have the required type. encoding/json alone matches names in any case, takes the
// last of several equal members, and accepts invalid UTF-8. A method's error is a
// *herald.Error; its Member is the path relative to the value that the method read.
//
// A method succeeds only if what it read is valid JSON. What is wrong with other text is said by
// checkJSON, see read.
type cursor struct {
	json   []byte
	at     int // the next byte to read
	depth  int
	blanks bool // next has skipped blanks since this was set to false
}

// errMalformed means that a text is not JSON.
var errMalformed = herald.Invalid("", "The body is not JSON.")

// read reads a body with value. The body must be exactly one JSON value in UTF-8. If it is not, the
// error is CodeInvalid and says where it is wrong, whatever value found before that place.
func read(body []byte, value func(c *cursor) error) error {
	c := cursor{json: body}
	err := value(&c)
	if c.next(); err == nil && c.at < len(body) {
		err = errMalformed
	}
	if err == nil && utf8.Valid(body) {
		return nil
	}
	if wrong := checkJSON(body); wrong != nil {
		return wrong
	}
	return nameMember(err)
}

// checkJSON returns what is wrong with the syntax of a body, or nil.
func checkJSON(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return herald.Invalid("", "The body is empty; send JSON.")
	}
	if !json.Valid(body) {
		var syntax *json.SyntaxError
		var discard json.RawMessage
		if errors.As(json.Unmarshal(body, &discard), &syntax) {
			return herald.Invalid("", "The body is not JSON: %s, at byte %d.", syntax, syntax.Offset)
		}
		return errMalformed
	}
	if !utf8.Valid(body) {
		return herald.Invalid("", "The body is not UTF-8; encode JSON as UTF-8.")
	}
	return nil
}

// next skips blanks and returns the following byte without reading it. It returns 0 at the end.
func (c *cursor) next() byte {
	for ; c.at < len(c.json); c.at++ {
		switch b := c.json[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.blanks = true
		default:
			return b
		}
	}
	return 0
}

// accept reads the following byte if it is b.
func (c *cursor) accept(b byte) bool {
	if c.next() != b {
		return false
	}
	c.at++
	return true
}

// object reads an object. It calls member for every member, in order. The function must
// read the member's value.
func (c *cursor) object(member func(name []byte) error) error {
	if err := c.open('{', "an object"); err != nil {
		return err
	}
	var seen names
	for more := c.next() != '}'; more; more = c.accept(',') {
		if c.next() != '"' {
			return errMalformed
		}
		name, err := c.characters()
		if err != nil {
			return err
		}
		if !c.accept(':') {
			return errMalformed
		}
		if !seen.add(name) {
			return within(string(name), herald.Invalid("", "named twice in one object; name it once"))
		}
		c.next()
		if err := member(name); err != nil {
			return within(string(name), err)
		}
	}
	return c.shut('}')
}

// array reads an array. It calls element for every element, in order. The function must
// read the element.
func (c *cursor) array(element func(i int) error) error {
	if err := c.open('[', "an array"); err != nil {
		return err
	}
	i := 0
	for more := c.next() != ']'; more; more = c.accept(',') {
		c.next()
		if err := element(i); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
		i++
	}
	return c.shut(']')
}

func (c *cursor) open(bracket byte, want string) error {
	if c.next() != bracket {
		return c.mistyped(want)
	}
	if c.depth == maxDepth {
		return herald.Invalid("", "more than %d objects and arrays in each other; nest less", maxDepth)
	}
	c.depth++
	c.at++
	return nil
}

func (c *cursor) shut(bracket byte) error {
	if !c.accept(bracket) {
		return errMalformed
	}
	c.depth--
	return nil
}

// skip reads any value. It refuses objects that name a member twice.
func (c *cursor) skip() error {
	ok := false
	switch c.next() {
	case '{':
		return c.object(func([]byte) error { return c.skip() })
	case '[':
		return c.array(func(int) error { return c.skip() })
	case '"':
		_, err := c.quoted()
		return err
	case 't':
		ok = c.word("true")
	case 'f':
		ok = c.word("false")
	case 'n':
		ok = c.word("null")
	default:
		ok = c.number()
	}
	if !ok {
		return errMalformed
	}
	return nil
}

// word reads a word if it follows.
func (c *cursor) word(word string) bool {
	rest := c.json[c.at:]
	if len(rest) < len(word) || string(rest[:len(word)]) != word {
		return false
	}
	c.at += len(word)
	return true
}

// number reads a number. It returns false for what is none by RFC 8259, section 6.
func (c *cursor) number() bool {
	c.one("-")
	if !c.one("0") && !c.digits() {
		return false
	}
	if c.one(".") && !c.digits() {
		return false
	}
	if c.one("eE") {
		c.one("+-")
		return c.digits()
	}
	return true
}

// one reads the next byte if it is one of some.
func (c *cursor) one(of string) bool {
	if c.at == len(c.json) {
		return false
	}
	for i := range len(of) {
		if of[i] == c.json[c.at] {
			c.at++
			return true
		}
	}
	return false
}

// digits reads digits, at least one.
func (c *cursor) digits() bool {
	start := c.at
	for c.at < len(c.json) && '0' <= c.json[c.at] && c.json[c.at] <= '9' {
		c.at++
	}
	return c.at > start
}

// quoted reads a string and returns its JSON text, with the quotes.
func (c *cursor) quoted() ([]byte, error) {
	start := c.at
	for c.at++; c.at < len(c.json); c.at++ {
		switch b := c.json[c.at]; {
		case b == '"':
			c.at++
			return c.json[start:c.at], nil
		case b < ' ', b == '\\' && !c.escape():
			return nil, errMalformed
		}
	}
	return nil, errMalformed
}

// escape reads an escape of a string up to its last byte. It returns false for what is none.
func (c *cursor) escape() bool {
	if c.at++; c.at == len(c.json) {
		return false
	}
	switch c.json[c.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if c.at++; c.at == len(c.json) || !isHex(c.json[c.at]) {
				return false
			}
		}
		return true
	}
	return false
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// characters reads a string and returns its value, which may be a part of the body.
func (c *cursor) characters() ([]byte, error) {
	raw, err := c.quoted()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, errMalformed
	}
	return []byte(text), nil
}

// names are the names of an object's members. Few of them take no memory of their own.
type names struct {
	few  [8][]byte
	n    int
	many map[string]bool
}

// add adds a name. It returns false if there is such a name already.
func (s *names) add(name []byte) bool {
	for _, known := range s.few[:s.n] {
		if bytes.Equal(known, name) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many[string(name)] {
		return false
	}
	if s.many == nil {
		s.many = make(map[string]bool)
	}
	s.many[string(name)] = true
	return true
}
