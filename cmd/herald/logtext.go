package main

import (
	"log/slog"
	"strconv"
	"time"
)

// appendLine appends the line of a record as slog.TextHandler writes it, byte for byte, for less. plain is false
// for a record that has more than printable ASCII and numbers: TextHandler must write that.
func appendLine(line []byte, r *slog.Record) (_ []byte, plain bool) {
	if r.Time.IsZero() {
		return line, false
	}
	line = appendTime(append(line, "time="...), r.Time)
	line = append(append(line, " level="...), r.Level.String()...)
	line, plain = appendText(append(line, " msg="...), r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if plain {
			line, plain = appendText(append(line, ' '), a.Key)
		}
		line = append(line, '=')
		switch v := a.Value; v.Kind() {
		case slog.KindString:
			if plain {
				line, plain = appendText(line, v.String())
			}
		case slog.KindInt64:
			line = strconv.AppendInt(line, v.Int64(), 10)
		case slog.KindFloat64:
			line = strconv.AppendFloat(line, v.Float64(), 'g', -1, 64)
		default:
			plain = false
		}
		return plain
	})
	return append(line, '\n'), plain
}

// appendTime appends a time in RFC 3339, with three digits of the second.
func appendTime(line []byte, t time.Time) []byte {
	const digits = len("2006-01-02T15:04:05.000")
	start := len(line)
	// The layout RFC3339Nano is fast, but omits zeros at the end. With a tenth of a millisecond it has four digits.
	line = t.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(line, time.RFC3339Nano)
	return append(line[:start+digits], line[start+digits+1:]...)
}

// appendText appends a text, in quotes if it has to be. plain is false if it is not printable ASCII.
func appendText(line []byte, text string) (_ []byte, plain bool) {
	quoted := text == ""
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~':
			return line, false
		case c == ' ' || c == '=' || c == '"':
			quoted = true
		}
	}
	if quoted {
		return strconv.AppendQuote(line, text), true
	}
	return append(line, text...), true
}
