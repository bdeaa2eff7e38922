package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a payload in a page. A page shows more if the visitor asks for all of it.
const (
	foldLines  = 200       // lines before the rest is folded away
	foldBytes  = 6 << 10   // bytes before it is
	mostBytes  = 256 << 10 // of a payload that is shown whole
	longLine   = 2000      // bytes of a line before it is cut
	prettyMost = 256 << 10 // larger JSON is shown as it came
)

// payload is a body of a request or a response as a page shows it.
type payload struct {
	Text string
	// Note says what is not shown, or that there is nothing.
	Note string
	// All is the address of the page that shows more, Raw that of the body as it is; empty without need.
	All, Raw string
	Size     int
}

// payloadOf makes the payload of a body. pretty indents JSON; whole shows more than the beginning.
func payloadOf(body []byte, pretty, whole bool) payload {
	shown := payload{Size: len(body)}
	if len(body) == 0 {
		shown.Note = "The body is empty."
		return shown
	}
	text := shownText(body)
	if indented := new(bytes.Buffer); pretty && len(body) <= prettyMost && json.Valid(body) && json.Indent(indented, body, "", "  ") == nil {
		text = visible(indented.String())
	}
	lines, bytes := foldLines, foldBytes
	if whole {
		lines, bytes = 1<<30, mostBytes
	}
	all := strings.Split(text, "\n")
	var b strings.Builder
	for i, line := range all {
		if i == lines || b.Len() > bytes {
			shown.Note = fmt.Sprintf("%s more.", plural(len(all)-i, "line is", "lines are"))
			break
		}
		if len(line) > longLine && !whole || len(line) > mostBytes {
			limit := longLine
			if whole {
				limit = mostBytes
			}
			line = cutText(line, limit) + fmt.Sprintf("… (%s more in this line)", byteSize(len(line)-limit))
			shown.Note = "Long lines are cut."
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	shown.Text = strings.TrimSuffix(b.String(), "\n")
	return shown
}

// shownText returns bytes as text: those that are not UTF-8 as \xNN.
func shownText(body []byte) string {
	if utf8.Valid(body) {
		return visible(string(body))
	}
	var b strings.Builder
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, body[0])
		} else {
			b.Write(body[:size])
		}
		body = body[size:]
	}
	return visible(b.String())
}

// cutText cuts a text between two characters.
func cutText(text string, most int) string {
	if most >= len(text) {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
