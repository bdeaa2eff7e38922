package portal

import (
	"fmt"
	"slices"
	"strings"
)

// isOdd reports whether a browser would not show a character, or lets it change the order of others. Line feeds and
// tabs are not odd. Nor are U+200C and U+200D: Persian, Indic scripts and emoji need them between their letters.
func isOdd(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x061c || r == 0xfeff || r == 0x00ad || r == 0x200b ||
		r >= 0x200e && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r >= 0xe0000 && r <= 0xe007f
}

// visible writes odd characters as their names. The end of a line may be CR and LF.
func visible(text string) string {
	if !strings.ContainsFunc(text, isOdd) {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var b strings.Builder
	for _, r := range text {
		if isOdd(r) {
			fmt.Fprintf(&b, "‹U+%04X›", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// looksLike reports whether two texts look alike on a page, where odd characters have their names and several blanks are one.
func looksLike(a, b string) bool {
	return slices.Equal(strings.Fields(visible(a)), strings.Fields(visible(b)))
}

// shownAttributes are those that a browser shows or reads out. All others are for forms and scripts.
var shownAttributes = []string{"title", "aria-label", "alt", "placeholder"}

// visibleHTML is visible for what a page shows: its texts and the attributes that are shown. What a form sends back or a
// script copies stays as it is. It reads only what html/template writes: < and > are escaped in texts, and so are quotes in values.
func visibleHTML(page string) string {
	if !strings.ContainsFunc(page, isOdd) {
		return page
	}
	var b strings.Builder
	b.Grow(len(page))
	for page != "" {
		text, rest, found := strings.Cut(page, "<")
		b.WriteString(visible(text))
		if !found {
			break
		}
		tag := rest[:tagEnd(rest)]
		page = rest[len(tag):]
		b.WriteByte('<')
		writeTag(&b, tag)
		if strings.HasPrefix(tag, "textarea") {
			typed, _, _ := strings.Cut(page, "</textarea")
			b.WriteString(typed)
			page = page[len(typed):]
		}
	}
	return b.String()
}

// tagEnd returns where a tag ends, behind its >. A quoted value may have one.
func tagEnd(tag string) int {
	var quote byte
	for i := range len(tag) {
		switch c := tag[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return len(tag)
}

// writeTag writes a tag without its first <.
func writeTag(b *strings.Builder, tag string) {
	for tag != "" {
		at := strings.IndexAny(tag, `"'`)
		if at < 0 {
			break
		}
		before, quote := tag[:at], tag[at:at+1]
		value, rest, _ := strings.Cut(tag[at+1:], quote)
		name := strings.TrimSuffix(before[strings.LastIndexAny(before, " \n\t")+1:], "=")
		if slices.Contains(shownAttributes, name) {
			value = visible(value)
		} else {
			value = strings.ReplaceAll(value, "\r", "&#13;") // a browser would read a line feed
		}
		b.WriteString(before + quote + value + quote)
		tag = rest
	}
	b.WriteString(tag)
}
