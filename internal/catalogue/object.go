package catalogue

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// object is a JSON object whose members keep their order and their text.
type object struct {
	names  []string
	quoted []json.RawMessage // the names as they are written
	values []json.RawMessage
}

// edit returns a JSON object changed by fn. Other JSON stays unchanged.
func edit(data json.RawMessage, fn func(*object)) json.RawMessage {
	var o object
	if !o.parse(data) {
		return data
	}
	fn(&o)
	return o.encode()
}

func (o *object) parse(data json.RawMessage) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return false
	}
	for decoder.More() {
		start := decoder.InputOffset()
		name, err := decoder.Token()
		if err != nil {
			return false
		}
		quoted := bytes.TrimLeft(data[start:decoder.InputOffset()], ", \t\r\n")
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return false
		}
		o.add(name.(string), quoted, value)
	}
	return true
}

func (o *object) add(name string, quoted, value json.RawMessage) {
	o.names, o.quoted, o.values = append(o.names, name), append(o.quoted, quoted), append(o.values, value)
}

func (o *object) get(name string) (json.RawMessage, bool) {
	i := slices.Index(o.names, name)
	if i < 0 {
		return nil, false
	}
	return o.values[i], true
}

// remove removes every occurrence of a member.
func (o *object) remove(name string) {
	for i := slices.Index(o.names, name); i >= 0; i = slices.Index(o.names, name) {
		o.names, o.quoted, o.values = slices.Delete(o.names, i, i+1), slices.Delete(o.quoted, i, i+1), slices.Delete(o.values, i, i+1)
	}
}

func (o *object) addMissing(name string, value json.RawMessage) {
	if _, ok := o.get(name); !ok {
		o.add(name, json.RawMessage(strconv.Quote(name)), value) // a built-in name, which JSON writes as Go does
	}
}

func (o *object) encode() json.RawMessage {
	out := []byte{'{'}
	for i, quoted := range o.quoted {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), o.values[i]...)
	}
	return append(out, '}')
}
