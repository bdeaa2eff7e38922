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

// maxShown bounds how much of a caller's text an error repeats, in bytes.
const maxShown = 80

// null reports whether the next value is null, and reads it if so.
func (c *cursor) null() bool {
	return c.next() == 'n' && c.word("null")
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
	text, err := c.characters()
	if err != nil {
		return "", err
	}
	switch n := utf8.RuneCount(text); {
	case hasLoneSurrogate(c.json[start:c.at]):
		return "", herald.Invalid("", "holds half a surrogate pair, which is no character")
	case n < least:
		return "", herald.Invalid("", "empty; want 1 to %d characters", most)
	case n > most:
		return "", herald.Invalid("", "%d characters; at most %d are taken", n, most)
	case bytes.IndexByte(text, 0) >= 0:
		return "", herald.Invalid("", "holds the character U+0000, which is not taken")
	}
	return string(text), nil
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
	text, err := c.characters()
	if err != nil {
		return uuid.Nil, err
	}
	if id, err := uuid.ParseBytes(text); err == nil && len(text) == 36 {
		return id, nil
	}
	return parseID(string(text)) // says what is wrong
}

// time reads an RFC 3339 date-time and returns it in UTC.
func (c *cursor) time() (time.Time, error) {
	if c.null() {
		return time.Time{}, nil
	}
	if c.next() != '"' {
		return time.Time{}, c.mistyped("a date-time")
	}
	text, err := c.characters()
	if err != nil {
		return time.Time{}, err
	}
	return parseTime(string(text))
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
	c.blanks = false
	if err := c.skip(); err != nil {
		return nil, err
	}
	if !c.blanks {
		return bytes.Clone(c.json[start:c.at]), nil
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
		text, _ := c.quoted() // checkJSON says what is wrong with it
		got = "the string " + short(string(text))
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
	if err == nil {
		return nil
	}
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
