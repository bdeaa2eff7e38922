package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

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

// fill replaces the placeholders. A value that the event does not have becomes empty.
func (t template) fill(kind *Type, e herald.Event) string {
	if len(t.names) == 0 {
		return t.text
	}
	var members map[string]any // decoded on first use
	var b strings.Builder
	for i, name := range t.names {
		b.WriteString(t.texts[i])
		switch name {
		case "companyId":
			b.WriteString(idText(e.CompanyID))
		case "clientId":
			b.WriteString(idText(e.ClientID))
		case "dataConnectionId":
			b.WriteString(idText(e.ConnectionID))
		case "timestamp":
			b.WriteString(e.OccurredAt.UTC().Format(kind.stamp))
		default:
			if members == nil {
				members = make(map[string]any)
				decoder := json.NewDecoder(strings.NewReader(string(e.Data)))
				decoder.UseNumber()
				_ = decoder.Decode(&members) // without data every member is empty
			}
			b.WriteString(memberText(members, name))
		}
	}
	b.WriteString(t.texts[len(t.names)])
	return strings.ReplaceAll(b.String(), "\x00", "\ufffd") // data may contain NUL; text columns cannot
}

func idText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func memberText(members map[string]any, path string) string {
	if path == "platformName" && (members[path] == nil || members[path] == "") {
		path = "platformKey" // the publisher may know only the key
	}
	var value any = members
	for name := range strings.SplitSeq(path, ".") {
		inner, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = inner[name]
	}
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		text, _ := json.Marshal(v) // it came from JSON
		return string(text)
	}
}

// The layouts of {timestamp} (spec sections 8.5 to 8.7), and of own types.
const (
	stampSevenDigits  = "2006-01-02T15:04:05.0000000Z"
	stampMilliseconds = "2006-01-02T15:04:05.000Z"
	stampSeconds      = "2006-01-02T15:04:05"
	stampOwn          = time.RFC3339
)
