package intake

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/work"
)

// renderHead renders an alert's own part of the delivered body, see Body of work.Item. It is the envelope
// of spec section 8.0, with the members in the vendor's order. If the event has data, it ends
// before the value of Data. Members that do not apply are absent.
func renderHead(clientName string, t *catalogue.Type, e herald.Event, a work.PreparedAlert) []byte {
	b := make([]byte, 0, 400+len(clientName)+len(a.Message))
	b = append(b, `{"ClientId":"`...)
	b = herald.AppendID(b, e.ClientID)
	b = append(b, `","ClientName":`...)
	b = appendText(b, clientName)
	if e.CompanyID != uuid.Nil {
		b = append(b, `,"CompanyId":"`...)
		b = append(herald.AppendID(b, e.CompanyID), '"')
	}
	if e.ConnectionID != uuid.Nil && (t.Connection || !t.BuiltIn) {
		b = append(b, `,"DataConnectionId":"`...)
		b = append(herald.AppendID(b, e.ConnectionID), '"')
	}
	b = append(b, `,"RuleId":"`...)
	b = herald.AppendID(b, a.RuleID)
	b = append(b, `","RuleType":`...)
	b = appendText(b, t.Delivered)
	b = append(b, `,"AlertId":"`...)
	b = herald.AppendID(b, a.ID)
	b = append(b, `","Message":`...)
	b = appendText(b, a.Message)
	if e.Data != nil {
		b = append(b, `,"Data":`...)
	}
	return b
}

// The ids of what an example stands for.
var (
	exampleRule  = uuid.MustParse("70af3071-65d9-4ec3-b3cb-5283e8d55dac")
	exampleAlert = uuid.MustParse("a9367074-b5c3-42c4-9be4-be129f43577e")
)

// ExampleBody returns the body that the receiver of a rule gets when it meets an event of a type. The ids of the rule and
// of the alert are made up.
func ExampleBody(clientName string, t *catalogue.Type, e herald.Event) []byte {
	message := t.Message(e)
	e.Data = t.Data(e.Data)
	head := renderHead(clientName, t, e, work.PreparedAlert{ID: exampleAlert, RuleID: exampleRule, Message: message})
	start, data := (&work.Item{Head: head, Data: e.Data}).Body()
	if data == nil {
		return start
	}
	return append(append(start, data...), '}')
}

// appendText appends a JSON string in UTF-8. It does not escape & < >. It replaces bytes that are
// not UTF-8 by U+FFFD.
func appendText(b []byte, s string) []byte {
	if isPlain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return append(b, strings.TrimSuffix(out.String(), "\n")...)
}

// isPlain reports whether a text is the same inside a JSON string, without any escape.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
