package safetext

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, test := range []struct{ name, text, want, line string }{
		{"plain", "plain ü 語", "plain ü 語", "plain ü 語"},
		{"NUL", "a\x00b", "a\ufffdb", "a\ufffdb"},
		{"not UTF-8", "a\xff\xfeb\xed\xa0\x80", "a\ufffd\ufffdb\ufffd\ufffd\ufffd", "a\ufffd\ufffdb\ufffd\ufffd\ufffd"},
		{"escape sequence", "\x1b[2J\x1b]0;x\x07", "\ufffd[2J\ufffd]0;x\ufffd", "\ufffd[2J\ufffd]0;x\ufffd"},
		{"C1", "\u009b2J\u0085", "\ufffd2J\ufffd", "\ufffd2J\ufffd"},
		{"delete and backspace", "a\x7f\b", "a\ufffd\ufffd", "a\ufffd\ufffd"},
		{"direction", "\u202egpj.exe\u2066x\u2069\u200f\u061c", "\ufffdgpj.exe\ufffdx\ufffd\ufffd\ufffd", "\ufffdgpj.exe\ufffdx\ufffd\ufffd\ufffd"},
		{"lines", "a\r\nb\tc\nd\re", "a\nb\tc\nd\ufffde", "a b c d\ufffde"},
		{"separators", "a\u2028b\u2029c", "a\u2028b\u2029c", "a b c"},
		{"empty", "", "", ""},
	} {
		if got := Clean(test.text, 100); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if got := Line(test.text, 100); got != test.line {
			t.Errorf("%s in one line: %q, want %q", test.name, got, test.line)
		}
	}
}

func TestCutIsBetweenCharacters(t *testing.T) {
	for _, test := range []struct {
		text  string
		bytes int
		want  string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdefg", 6, "abc…"}, {"äöüäöü", 9, "äöü…"}, {"äöüäöü", 8, "äö…"}, {"語語語語", 8, "語…"},
		{"abcdef", 3, "…"}, {"abcdef", 2, "ab"}, {"äö", 1, ""}, {"a", 0, ""}, {strings.Repeat("\x80", 20), 9, "\ufffd\ufffd…"},
	} {
		if got := Clean(test.text, test.bytes); got != test.want {
			t.Errorf("%q in %d bytes: %q, want %q", test.text, test.bytes, got, test.want)
		}
	}
}

func TestCleanTextIsNotCopied(t *testing.T) {
	text := strings.Repeat("plain ü ", 100)
	if n := testing.AllocsPerRun(100, func() { Line(text, 1000) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x00\xff\u202e\x1b[31m\r\n", 7)
	f.Add(strings.Repeat("語", 50), 11)
	f.Fuzz(func(t *testing.T, text string, bytes int) {
		bytes = max(bytes, 0)
		for name, got := range map[string]string{"Clean": Clean(text, bytes), "Line": Line(text, bytes)} {
			if len(got) > bytes || !utf8.ValidString(got) {
				t.Errorf("%s(%q, %d) has %d bytes: %q", name, text, bytes, len(got), got)
			}
			for _, r := range got {
				if unicode.IsControl(r) && (name == "Line" || r != '\n' && r != '\t') || unicode.Is(unicode.Bidi_Control, r) {
					t.Errorf("%s(%q, %d) has %U", name, text, bytes, r)
				}
			}
		}
		if again := Clean(Clean(text, bytes), bytes); again != Clean(text, bytes) {
			t.Errorf("cleaned twice: %q", again)
		}
	})
}
