package catalogue

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzObject compares the members of objects, and strings, with what encoding/json reads.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, ` { "a" : [ 1 , {"b":"}"} ] , "c" : "x\"]" , "d":-1.5e3,"e":true,"f":null } `, `{"\u0061\"":"\u00e9\n"}`, `{"a":1,"a":2}`, `{"":""}`,
		`null`, `[]`, `"x"`, `7`, ``, ` `, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}x`, `{"a":[1,,2]}`, `"\ud800"`, `"\u0000"`, "\"\xff\"", `"`, `{"a":"\\"}`,
		"{" + strings.Repeat(`"x":1,`, 100) + `"y":[[],{}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(data, &want) == nil && want != nil
		o, ok := parseObject(data)
		if ok != isObject {
			t.Fatalf("%q: an object %v, want %v", data, ok, isObject)
		}
		for name, value := range want {
			if got, ok := o.get(name); utf8.Valid(data) && (!ok || !bytes.Equal(got, value)) {
				t.Errorf("%q: %q is %s, want %s", data, name, got, value)
			}
		}
		var same map[string]json.RawMessage
		if err := json.Unmarshal(o.encode(), &same); ok && (err != nil || len(same) != len(want)) {
			t.Errorf("%q is written as %s, %v", data, o.encode(), err)
		}
		var text string
		isText := json.Unmarshal(data, &text) == nil && len(data) > 0 && data[0] == '"' && data[len(data)-1] == '"'
		if got, ok := stringOf(data); isText && (!ok || got != text) {
			t.Errorf("%q is %q, want %q", data, got, text)
		}
	})
}
