// Package safetext makes text from outside fit to be stored, logged and shown: the names in
// certificates, DNS errors, response headers and bodies, replies of mail servers, addresses that
// redirects lead to. It is pure.
//
// Such text can contain bytes that PostgreSQL refuses, escape sequences that a terminal obeys,
// characters that change the direction of the text after them, and any number of bytes.
// internal/delivery calls it for every text of an attempt, before the attempt is logged or recorded.
package safetext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ellipsis is the end of a text that was cut.
const ellipsis = "…"

// Clean returns text in valid UTF-8, with at most maxBytes bytes. The only control characters in it
// are line feeds and tabs. Every other control character, every character that changes the direction
// of text, and every byte that is not UTF-8 is replaced by U+FFFD. A text that is too long is cut
// between two characters and ends with "…", if maxBytes has room for it.
func Clean(text string, maxBytes int) string {
	if len(text) <= maxBytes && isPlain(text) {
		return text
	}
	text = strings.ReplaceAll(cut(text, maxBytes), "\r\n", "\n")
	return cut(replace(text, isForbidden, string(utf8.RuneError)), maxBytes)
}

// Line is Clean for text that must stay in one line: it replaces line feeds, tabs and other
// separators of lines by blanks.
func Line(text string, maxBytes int) string {
	if len(text) <= maxBytes && isPlain(text) {
		return text
	}
	return replace(Clean(text, maxBytes), isSeparator, " ")
}

// isPlain reports whether a text is printable ASCII, as almost every text is: then there is nothing
// to do, and no more to look at.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// replace replaces the characters of text that are bad, and bytes that are not UTF-8. It returns text
// itself if there is none, without an allocation.
func replace(text string, bad func(rune) bool, by string) string {
	from := strings.IndexFunc(text, bad)
	if valid := utf8.ValidString(text); from < 0 && valid {
		return text
	} else if !valid {
		from = 0
	}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteString(text[:from])
	for rest := text[from:]; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(string(utf8.RuneError))
		case bad(r):
			b.WriteString(by)
		default:
			b.WriteString(rest[:size])
		}
		rest = rest[size:]
	}
	return b.String()
}

func isForbidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

func isSeparator(r rune) bool {
	return r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029'
}

// cut returns the start of text that has at most maxBytes bytes. It cuts no character.
func cut(text string, maxBytes int) string {
	if len(text) <= maxBytes {
		return text
	}
	mark := ellipsis
	if maxBytes < len(mark) {
		mark = ""
	}
	end := max(maxBytes-len(mark), 0)
	for back := 0; back < utf8.UTFMax && end > 0 && !utf8.RuneStart(text[end]); back++ {
		end--
	}
	return text[:end] + mark
}
