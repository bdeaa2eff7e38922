package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

// maxDepth bounds the nesting of a body's objects and arrays. Several receivers' JSON
// libraries stop at a depth of 64 to 512. Deeper data would be accepted here and fail
// there.
const maxDepth = 60

// maxShown bounds how much of a caller's text an error repeats, in bytes.
const maxShown = 80

// cursor reads a body strictly. Names of members match exactly, each name occurs once, and
// values have the required type. encoding/json alone matches names in any case, takes the
// last of several equal members, and accepts invalid UTF-8. A method's error is a
// *herald.Error; its Member is the path relative to the value that the method read.
//
// newCursor has checked the syntax. So cursor does not look for syntax errors, and it reads
// every byte once.
type cursor struct {
	json  []byte
	at    int // the next byte to read
	depth int
}

// newCursor returns a cursor at the start of a body. The body must be exactly one JSON
// value in UTF-8; otherwise the error is CodeInvalid and says where it is wrong.
func newCursor(body []byte) (*cursor, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, herald.Invalid("", "The body is empty; send JSON.")
	}
	if !json.Valid(body) {
		var syntax *json.SyntaxError
		var discard json.RawMessage
		if errors.As(json.Unmarshal(body, &discard), &syntax) {
			return nil, herald.Invalid("", "The body is not JSON: %s, at byte %d.", syntax, syntax.Offset)
		}
		return nil, herald.Invalid("", "The body is not JSON.")
	}
	if !utf8.Valid(body) {
		return nil, herald.Invalid("", "The body is not UTF-8; encode JSON as UTF-8.")
	}
	return &cursor{json: body}, nil
}

// next skips blanks and returns the following byte without reading it.
func (c *cursor) next() byte {
	for {
		switch b := c.json[c.at]; b {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return b
		}
	}
}

// object reads an object. It calls member for every member, in order. The function must
// read the member's value.
func (c *cursor) object(member func(name string) error) error {
	if err := c.open('{', "an object"); err != nil {
		return err
	}
	seen := make(map[string]bool, 8)
	for c.next() != '}' {
		if c.json[c.at] == ',' {
			c.at++
			c.next()
		}
		name := c.unquoted()
		c.next()
		c.at++ // the colon
		if seen[name] {
			return within(name, herald.Invalid("", "named twice in one object; name it once"))
		}
		seen[name] = true
		c.next()
		if err := member(name); err != nil {
			return within(name, err)
		}
	}
	c.shut()
	return nil
}

// array reads an array. It calls element for every element, in order. The function must
// read the element.
func (c *cursor) array(element func(i int) error) error {
	if err := c.open('[', "an array"); err != nil {
		return err
	}
	for i := 0; c.next() != ']'; i++ {
		if c.json[c.at] == ',' {
			c.at++
			c.next()
		}
		if err := element(i); err != nil {
			return within(fmt.Sprintf("[%d]", i), err)
		}
	}
	c.shut()
	return nil
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

func (c *cursor) shut() {
	c.depth--
	c.at++
}

// skip reads any value. It refuses objects that name a member twice.
func (c *cursor) skip() error {
	switch c.next() {
	case '{':
		return c.object(func(string) error { return c.skip() })
	case '[':
		return c.array(func(int) error { return c.skip() })
	case '"':
		c.quoted()
	default:
		for c.at < len(c.json) && !strings.ContainsRune(",]} \t\r\n", rune(c.json[c.at])) {
			c.at++
		}
	}
	return nil
}

// quoted reads a string and returns its JSON text, with the quotes.
func (c *cursor) quoted() []byte {
	start := c.at
	for c.at++; c.json[c.at] != '"'; c.at++ {
		if c.json[c.at] == '\\' {
			c.at++
		}
	}
	c.at++
	return c.json[start:c.at]
}

// unquoted reads a string and returns its value.
func (c *cursor) unquoted() string {
	raw := c.quoted()
	if !bytes.ContainsRune(raw, '\\') {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	// Valid JSON cannot fail here.
	_ = json.Unmarshal(raw, &text)
	return text
}

// null reports whether the next value is null, and reads it if so.
func (c *cursor) null() bool {
	if c.next() != 'n' {
		return false
	}
	c.at += len("null")
	return true
}

// text reads a string of at least least and at most most characters. It refuses NUL,
// because PostgreSQL's text type cannot store it.
func (c *cursor) text(least, most int) (string, error) {
	if c.null() {
		return "", nil
	}
	if c.next() != '"' {
		return "", c.mistyped("a string")
	}
	start := c.at
	text := c.unquoted()
	switch n := utf8.RuneCountInString(text); {
	case hasLoneSurrogate(c.json[start:c.at]):
		return "", herald.Invalid("", "holds half a surrogate pair, which is no character")
	case n < least:
		return "", herald.Invalid("", "empty; want 1 to %d characters", most)
	case n > most:
		return "", herald.Invalid("", "%d characters; at most %d are taken", n, most)
	case strings.ContainsRune(text, 0):
		return "", herald.Invalid("", "holds the character U+0000, which is not taken")
	}
	return text, nil
}

// hasLoneSurrogate reports whether a string's JSON text escapes half a surrogate pair.
// encoding/json decodes each such half as U+FFFD. That would change a text and make
// different idempotency keys equal.
func hasLoneSurrogate(raw []byte) bool {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return false
		}
		if raw = raw[at+1:]; raw[0] != 'u' {
			raw = raw[1:]
			continue
		}
		first := escaped(raw[1:])
		raw = raw[1+4:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		if !bytes.HasPrefix(raw, []byte(`\u`)) || utf16.DecodeRune(first, escaped(raw[2:])) == utf8.RuneError {
			return true
		}
		raw = raw[2+4:]
	}
}

// escaped parses the four hexadecimal digits of an escape.
func escaped(digits []byte) rune {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // valid JSON cannot fail here
	return rune(n)
}

// id reads a GUID in the hyphenated form.
func (c *cursor) id() (uuid.UUID, error) {
	if c.null() {
		return uuid.Nil, nil
	}
	if c.next() != '"' {
		return uuid.Nil, c.mistyped("a GUID")
	}
	return parseID(c.unquoted())
}

// time reads an RFC 3339 date-time and returns it in UTC.
func (c *cursor) time() (time.Time, error) {
	if c.null() {
		return time.Time{}, nil
	}
	if c.next() != '"' {
		return time.Time{}, c.mistyped("a date-time")
	}
	return parseTime(c.unquoted())
}

// flag reads true or false.
func (c *cursor) flag() (bool, error) {
	if c.null() {
		return false, nil
	}
	b := c.next()
	if b != 't' && b != 'f' {
		return false, c.mistyped("true or false")
	}
	return b == 't', c.skip()
}

// whole reads a whole number from least to most; null is 0.
func (c *cursor) whole(least, most int) (int, error) {
	if c.null() {
		return 0, nil
	}
	if b := c.next(); b != '-' && (b < '0' || b > '9') {
		return 0, c.mistyped("a whole number")
	}
	start := c.at
	if err := c.skip(); err != nil {
		return 0, err
	}
	text := string(c.json[start:c.at])
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, herald.Invalid("", "%s is not a whole number from %d to %d", short(text), least, most)
	}
	return n, nil
}

// compact reads an object and returns it without blanks.
func (c *cursor) compact() (json.RawMessage, error) {
	if c.null() {
		return nil, nil
	}
	if c.next() != '{' {
		return nil, c.mistyped("an object")
	}
	start := c.at
	if err := c.skip(); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	compact.Grow(c.at - start)
	if err := json.Compact(&compact, c.json[start:c.at]); err != nil {
		return nil, fmt.Errorf("compact an object: %w", err)
	}
	return compact.Bytes(), nil
}

// mistyped returns an error that names the wanted type and the next value's type.
func (c *cursor) mistyped(want string) error {
	got := "a number"
	switch c.next() {
	case '{':
		got = "an object"
	case '[':
		got = "an array"
	case '"':
		got = "the string " + short(string(c.quoted()))
	case 't', 'f':
		got = "true or false"
	case 'n':
		got = "null"
	}
	return herald.Invalid("", "want %s, got %s", want, got)
}

// unknown returns the error for an unknown member; names lists the known ones.
func unknown(names string) error {
	return herald.Invalid("", "no such member; there are %s", names)
}

// within prepends the name of a member, or an index in brackets, to the Member of an
// error.
func within(name string, err error) error {
	var e *herald.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", name, err)
	}
	at := *e
	switch {
	case at.Member == "":
		at.Member = short(name)
	case at.Member[0] == '[':
		at.Member = short(name) + at.Member
	default:
		at.Member = short(name) + "." + at.Member
	}
	return &at
}

// nameMember prepends a cursor error's Member to its Message.
func nameMember(err error) error {
	var e *herald.Error
	if !errors.As(err, &e) || e.Member == "" {
		return err
	}
	at := *e
	at.Message = at.Member + ": " + at.Message
	return &at
}

// short truncates a caller's text for an error. It replaces invalid UTF-8, because query
// strings are not checked for that.
func short(text string) string {
	if len(text) <= maxShown {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "…"
}

// parseID parses a GUID in the hyphenated form. uuid.Parse alone also accepts braces, a
// URN and bare digits.
func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, herald.Invalid("", "%q is not a GUID such as 8a210b68-6988-11ed-a1eb-0242ac120002", short(text))
	}
	return id, nil
}

// parseTime parses an RFC 3339 date-time and returns it in UTC. Its year has four digits there:
// encoding/json cannot show another.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, herald.Invalid("", "%q is not a date-time after RFC 3339 such as 2026-05-03T09:56:17Z", short(text))
	}
	t = t.UTC()
	if t.Before(herald.MinTime) || t.Year() > 9999 { // a zone can move the last hours of a year
		return time.Time{}, herald.Invalid("", "%q lies in the year %d in UTC; want a year from 0001 to 9999", short(text), t.Year())
	}
	return t, nil
}
