package catalogue

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// object is a JSON object whose members keep their order and their text. encoding/json would copy each
// member into a map, which takes four times as long.
type object struct {
	members []member
	byName  map[string]int // of an object with more than fewMembers
}

type member struct {
	name   []byte
	quoted json.RawMessage // the name as it is written
	value  json.RawMessage
}

// fewMembers is how many members are looked through one by one.
const fewMembers = 32

// edit returns a JSON object changed by fn. Other JSON stays unchanged.
func edit(data json.RawMessage, fn func(*object)) json.RawMessage {
	o, ok := parseObject(data)
	if !ok {
		return data
	}
	fn(&o)
	return o.encode()
}

// parseObject returns the members of a JSON object, which are parts of data. ok is false for other texts.
func parseObject(data json.RawMessage) (o object, ok bool) {
	at := blanks(data, 0)
	if at == len(data) || data[at] != '{' || !json.Valid(data) {
		return o, false
	}
	// From here on the syntax is known to be right.
	o.members = make([]member, 0, 4)
	for at = blanks(data, at+1); data[at] != '}'; {
		var m member
		end := valueEnd(data, at)
		m.quoted = data[at:end:end]
		at = blanks(data, blanks(data, end)+1) // over the colon
		end = valueEnd(data, at)
		m.value = data[at:end:end]
		m.name = m.quoted[1 : len(m.quoted)-1]
		if bytes.IndexByte(m.name, '\\') >= 0 {
			name, _ := stringOf(m.quoted)
			m.name = []byte(name)
		}
		o.members = append(o.members, m)
		if at = blanks(data, end); data[at] == ',' {
			at = blanks(data, at+1)
		}
	}
	return o, true
}

// blanks returns where the blanks at a place end.
func blanks(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\t' || data[at] == '\r' || data[at] == '\n') {
		at++
	}
	return at
}

// valueEnd returns where the value at a place of valid JSON ends.
func valueEnd(data []byte, at int) int {
	for depth := 0; ; at++ {
		switch data[at] {
		case '"':
			for at++; data[at] != '"'; at++ {
				if data[at] == '\\' {
					at++
				}
			}
			if depth == 0 {
				return at + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // a number or a word ended before it
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return at
			}
		}
	}
}

// stringOf returns the value of a JSON string. ok is false for other values.
func stringOf(value json.RawMessage) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if inside := value[1 : len(value)-1]; bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) {
		return string(inside), true
	}
	return text, json.Unmarshal(value, &text) == nil
}

// get returns a member's value. Of several with the name it is the last.
func (o *object) get(name string) (json.RawMessage, bool) {
	if len(o.members) > fewMembers && o.byName == nil {
		o.byName = make(map[string]int, len(o.members))
		for i, m := range o.members {
			o.byName[string(m.name)] = i
		}
	}
	if o.byName != nil {
		i, ok := o.byName[name]
		if !ok {
			return nil, false
		}
		return o.members[i].value, true
	}
	for _, m := range slices.Backward(o.members) {
		if string(m.name) == name {
			return m.value, true
		}
	}
	return nil, false
}

// remove removes every occurrence of a member.
func (o *object) remove(name string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return string(m.name) == name })
	o.byName = nil
}

func (o *object) addMissing(name string, value json.RawMessage) {
	if _, ok := o.get(name); !ok {
		quoted := strconv.Quote(name) // a built-in name, which JSON writes as Go does
		o.members = append(o.members, member{[]byte(name), json.RawMessage(quoted), value})
		o.byName = nil
	}
}

func (o *object) encode() json.RawMessage {
	out := []byte{'{'}
	for i, m := range o.members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, m.quoted...), ':'), m.value...)
	}
	return append(out, '}')
}
