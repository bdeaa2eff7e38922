package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

// template is a message template: texts with a placeholder between each two. A
// placeholder {name} is companyId, clientId, dataConnectionId or timestamp. Any other name
// is a member of the data, where dots separate the names of nested objects.
type template struct {
	text  string
	texts []string // one more than names
	names []string
}

func parseTemplate(wording string) (template, error) {
	t := template{text: wording}
	rest := wording
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return t, errors.New("there is a } without a { before it")
		}
		t.texts = append(t.texts, before)
		if !found {
			return t, nil
		}
		name, behind, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return t, fmt.Errorf("{%s is not closed by a }", after)
		case strings.TrimSpace(name) == "" || strings.Contains(name, "{"):
			return t, fmt.Errorf("{%s} names no member", name)
		}
		t.names = append(t.names, strings.TrimSpace(name))
		rest = behind
	}
}

// fill replaces the placeholders. A value that the event does not have becomes empty. The
// message has at most herald.MaxMessage characters; one that is cut off ends with an ellipsis.
func (t template) fill(kind *Type, e herald.Event) string {
	if len(t.names) == 0 {
		return t.text
	}
	b := make([]byte, 0, 256)
	data := members{data: e.Data}
	for i, name := range t.names {
		b = append(b, t.texts[i]...)
		switch name {
		case "companyId":
			b = appendID(b, e.CompanyID)
		case "clientId":
			b = appendID(b, e.ClientID)
		case "dataConnectionId":
			b = appendID(b, e.ConnectionID)
		case "timestamp":
			b = e.OccurredAt.UTC().AppendFormat(b, kind.stamp)
		default:
			b = append(b, data.text(name)...)
		}
		// No more than is shown: a template may name a member of a megabyte many times.
		if len(b) > herald.MaxMessage*utf8.UTFMax {
			break
		}
	}
	if len(b) <= herald.MaxMessage*utf8.UTFMax {
		b = append(b, t.texts[len(t.names)]...)
	}
	return cut(strings.ReplaceAll(string(b), "\x00", "\ufffd")) // data may contain NUL; text columns cannot
}

// cut cuts a message to herald.MaxMessage characters.
func cut(message string) string {
	if len(message) <= herald.MaxMessage {
		return message
	}
	n := 0
	last := 0 // where the last character that may stay before an ellipsis ends
	for i := range message {
		if n == herald.MaxMessage-1 {
			last = i
		}
		if n++; n > herald.MaxMessage {
			return message[:last] + "…"
		}
	}
	return message
}

func appendID(text []byte, id uuid.UUID) []byte {
	if id == uuid.Nil {
		return text
	}
	return herald.AppendID(text, id)
}

// members finds members of an event's data. It parses each object once.
type members struct {
	data    json.RawMessage
	top     *object            // the data itself
	objects map[string]*object // those within it, by path
}

// text returns a member as text: a string's characters, and any other value as the publisher
// wrote it. Dots separate the names of a path.
func (m *members) text(path string) string {
	value := m.value(path)
	if path == "platformName" && (len(value) == 0 || string(value) == `""` || string(value) == "null") {
		value = m.value("platformKey") // the publisher may know only the key
	}
	switch {
	case len(value) == 0 || string(value) == "null":
		return ""
	case value[0] == '"':
		text, _ := stringOf(value)
		return text
	case value[0] == '{' || value[0] == '[':
		var compact bytes.Buffer
		_ = json.Compact(&compact, value) // likewise
		return compact.String()
	default:
		return string(value)
	}
}

// value returns a member's JSON text, or nothing if there is no such member.
func (m *members) value(path string) json.RawMessage {
	at := strings.LastIndexByte(path, '.')
	value, _ := m.object(path[:max(at, 0)]).get(path[at+1:])
	return value
}

// object returns the object at a path; the data itself is at the empty path. What is no object has no
// members.
func (m *members) object(path string) *object {
	if path == "" {
		if m.top == nil {
			top, _ := parseObject(m.data)
			m.top = &top
		}
		return m.top
	}
	if known, ok := m.objects[path]; ok {
		return known
	}
	found, _ := parseObject(m.value(path))
	if m.objects == nil {
		m.objects = make(map[string]*object)
	}
	m.objects[path] = &found
	return &found
}

// The layouts of {timestamp} (spec sections 8.5 to 8.7), and of own types.
const (
	stampSevenDigits  = "2006-01-02T15:04:05.0000000Z"
	stampMilliseconds = "2006-01-02T15:04:05.000Z"
	stampSeconds      = "2006-01-02T15:04:05"
	stampOwn          = time.RFC3339
)
