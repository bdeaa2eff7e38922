package delivery

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"herald"
)

// TestEveryTextOfAnAttemptPassesTheGate fills every text of an attempt with poison, also those of
// members that will be added, and finds none after the gate.
func TestEveryTextOfAnAttemptPassesTheGate(t *testing.T) {
	for _, poison := range []string{
		"a\x00b", "\xff\xfe", "\x1b[2J\x1b]0;title\x07", "\u202egpj.exe", "\u2066x\u2069", "\u009b31m", "\ud7ff\xed\xa0\x80", "\x7f\b",
		strings.Repeat("\x01", 1<<20), strings.Repeat("語", 1<<20), strings.Repeat("x", 5<<20),
	} {
		var a herald.Attempt
		filled := 0
		fill(reflect.ValueOf(&a).Elem(), poison, &filled)
		if filled < 12 {
			t.Fatalf("only %d texts were filled", filled)
		}
		cleanAttempt(&a)
		found := 0
		visit(reflect.ValueOf(a), "attempt", func(path, text string) {
			found++
			if err := unsafe(text); err != nil {
				t.Errorf("%.20q in %s: %v", poison, path, err)
			}
		})
		if found == 0 {
			t.Fatal("no text was found")
		}
	}
}

// TestCleanAttemptIsNotChanged: the gate leaves an ordinary attempt as it is.
func TestCleanAttemptIsNotChanged(t *testing.T) {
	a, b := ordinaryAttempt(), ordinaryAttempt()
	cleanAttempt(&a)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v, want %+v", a, b)
	}
	if n := testing.AllocsPerRun(100, func() { cleanAttempt(&a) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func ordinaryAttempt() herald.Attempt {
	return herald.Attempt{
		Outcome: herald.OutcomeRetry, Reason: herald.ReasonStatus, Error: "the receiver answered 503 Service Unavailable",
		Request:  &herald.RequestRecord{Method: "POST", URL: "https://a.example/ü", Headers: map[string]string{"User-Agent": "Herald/1"}},
		Response: &herald.ResponseRecord{Headers: map[string][]string{"Server": {"a", "b"}}, Body: "line\n\tline ü"},
	}
}

func unsafe(text string) error {
	if len(text) > maxBodyText {
		return fmt.Errorf("%d bytes", len(text))
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("not UTF-8")
	}
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return fmt.Errorf("the character %U", r)
		}
	}
	return nil
}

// fill sets every text in v to poison and counts them. Pointers, slices and maps get one element.
func fill(v reflect.Value, poison string, filled *int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(poison)
		*filled++
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), poison, filled)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), poison, filled)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, poison, filled)
		fill(value, poison, filled)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), poison, filled)
			}
		}
	}
}

// visit calls fn with every text in v and where it is.
func visit(v reflect.Value, path string, fn func(path, text string)) {
	switch v.Kind() {
	case reflect.String:
		fn(path, v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), path, fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fmt.Sprintf("%s[%d]", path, i), fn)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			visit(key, path+" key", fn)
			visit(v.MapIndex(key), path+" value", fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				visit(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
			}
		}
	}
}
