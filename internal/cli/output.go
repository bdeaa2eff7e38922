package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// Format is a form of output.
type Format string

// The forms of output.
const (
	Table Format = "table"
	JSON  Format = "json"  // one document
	JSONL Format = "jsonl" // one document a line
)

// Column is a column of a table.
type Column[T any] struct {
	Head string
	Cell func(T) string
}

// Write writes items in a format. When a table has no items, it writes a line to notes.
func Write[T any](out, notes io.Writer, f Format, columns []Column[T], items []T) error {
	switch f {
	case JSON:
		if items == nil {
			items = []T{}
		}
		return encode(out, items, "  ")
	case JSONL:
		for _, item := range items {
			if err := encode(out, item, ""); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(notes, "none")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var heads []string
	for _, c := range columns {
		heads = append(heads, c.Head)
	}
	fmt.Fprintln(table, strings.Join(heads, "\t"))
	for _, item := range items {
		var cells []string
		for _, c := range columns {
			cells = append(cells, Clean(c.Cell(item)))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// WritePage writes a page of a list. As JSON it is the API's answer, which says where the rest is. In the
// other forms more says that, as a line to notes; it is empty on the last page.
func WritePage[T any](out, notes io.Writer, f Format, columns []Column[T], items []T, answer any, more string) error {
	if f == JSON {
		return encode(out, answer, "  ")
	}
	err := Write(out, notes, f, columns, items)
	if err == nil && more != "" {
		_, err = fmt.Fprintln(notes, more)
	}
	return err
}

// WriteOne writes one item as JSON, or as lines of a name and a value. It omits empty values.
func WriteOne[T any](out io.Writer, f Format, fields []Column[T], item T) error {
	if f == JSON || f == JSONL {
		indent := "  "
		if f == JSONL {
			indent = ""
		}
		return encode(out, item, indent)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range fields {
		if cell := Clean(c.Cell(item)); cell != "" {
			fmt.Fprintf(table, "%s\t%s\n", c.Head, cell)
		}
	}
	return table.Flush()
}

// encode writes JSON that is safe for a terminal: what Clean replaces is escaped. It can only be in
// a string, where \u009b is the same character.
func encode(out io.Writer, value any, indent string) error {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	safe := text.String()
	if strings.ContainsFunc(safe, isEscapedInJSON) {
		var b strings.Builder
		for _, r := range safe {
			if isEscapedInJSON(r) {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		safe = b.String()
	}
	_, err := io.WriteString(out, safe)
	return err
}

// isEscapedInJSON leaves the line breaks between members as they are.
func isEscapedInJSON(r rune) bool { return r != '\n' && isUnsafe(r) }

// isUnsafe finds what may control a terminal or change the direction of text.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// Clean makes text from strangers safe for a terminal and for one line. It replaces control
// characters, and characters that change the direction of text, by blanks.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if isUnsafe(r) {
			return ' '
		}
		return r
	}, text)
}

// ID formats an id as a cell. It is not shortened, so that people can paste it; uuid.Nil is empty.
func ID(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

// Time formats a time as a cell, in the local time zone, as a Moment takes it; the zero time is empty.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02T15:04:05.000Z07:00")
}

// Brief truncates a text to n characters and then adds "…".
func Brief(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
