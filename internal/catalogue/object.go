package catalogue

import (
	"bytes"
	"encoding/json"
	"slices"
)

// object is a JSON object whose members keep their order.
type object struct {
	names  []string
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
		name, err := decoder.Token()
		if err != nil {
			return false
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return false
		}
		o.names, o.values = append(o.names, name.(string)), append(o.values, value)
	}
	return true
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
		o.names, o.values = slices.Delete(o.names, i, i+1), slices.Delete(o.values, i, i+1)
	}
}

func (o *object) addMissing(name string, value json.RawMessage) {
	if _, ok := o.get(name); !ok {
		o.names, o.values = append(o.names, name), append(o.values, value)
	}
}

func (o *object) encode() json.RawMessage {
	out := []byte{'{'}
	for i, name := range o.names {
		if i > 0 {
			out = append(out, ',')
		}
		quoted, _ := json.Marshal(name) // a string always encodes
		out = append(append(append(out, quoted...), ':'), o.values[i]...)
	}
	return append(out, '}')
}
