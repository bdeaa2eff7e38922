package portal

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"herald"
	"herald/internal/catalogue"
)

// odd are names as people have them: with joiners in Persian and in emoji, with marks of direction, and with a soft hyphen.
var odd = []string{"شرکت می\u200cخواهم 👨\u200d👩\u200d👧", "עברית\u200f (Ltd)", "Donau\u00addampf", "a\u202eb \u2067c\u2069", `</textarea> "q" <b> & 'x'`}

var (
	inputs    = regexp.MustCompile(`<input [^>]*?name="([^"]*)"[^>]*>`)
	values    = regexp.MustCompile(` value="([^"]*)"`)
	textareas = regexp.MustCompile(`(?s)<textarea [^>]*?name="([^"]*)"[^>]*>(.*?)</textarea>`)
)

// withoutValues returns what a page shows of itself: not what its forms and copy buttons have.
func withoutValues(page string) string {
	return regexp.MustCompile(` (value|data-copy)="[^"]*"`).ReplaceAllString(textareas.ReplaceAllString(page, ""), "")
}

// typedIn returns what the form with an action would send, as it came.
func typedIn(t *testing.T, page, action string) url.Values {
	t.Helper()
	_, form, found := strings.Cut(page, `action="`+action+`"`)
	if form, _, _ = strings.Cut(form, "</form>"); !found {
		t.Fatalf("there is no form for %s", action)
	}
	sent := url.Values{}
	for _, input := range inputs.FindAllStringSubmatch(form, -1) {
		if value := values.FindStringSubmatch(input[0]); value != nil && !strings.Contains(input[0], "checkbox") {
			sent.Set(html.UnescapeString(input[1]), html.UnescapeString(value[1]))
		}
	}
	for _, area := range textareas.FindAllStringSubmatch(form, -1) {
		sent.Set(area[1], strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n").Replace(html.UnescapeString(area[2])))
	}
	return sent
}

// TestSavingAPageUnchangedChangesNothing: what a form sends back is what was stored, whatever its characters are.
func TestSavingAPageUnchangedChangesNothing(t *testing.T) {
	for _, text := range odd {
		types, err := catalogue.New([]herald.EventType{{Name: "own", Message: text + "\nsecond line", Schema: []byte(`{"title":"x"}`)}}, catalogue.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, func(o *Options) {
			o.Catalogue = func(context.Context) (*catalogue.Catalogue, error) { return types, nil }
		})
		f.name, f.profile.LogoURL = text, "https://a.example/"+text
		session, operator := f.signedIn("acme"), f.signedIn("operator")
		back := func(token, page, action string) {
			t.Helper()
			if w := f.request(token, http.MethodPost, action, typedIn(t, f.page(token, http.StatusOK, page), action)); w.Code != http.StatusSeeOther {
				t.Errorf("%q: POST %s: status %d", text, action, w.Code)
			}
		}
		settings := of(acme, "/settings")
		back(session, settings, settings)
		if f.profile.Name != text {
			t.Errorf("the profile saved unchanged has the name %q, not %q", f.profile.Name, text)
		}
		back(operator, managePath(acme), managePath(acme)+"/rename")
		if got := f.changed[len(f.changed)-1]; got != "rename to "+text {
			t.Errorf("renamed without a change: %q", got)
		}
		f.rules[0].Type, f.rules[0].Webhook = "own", "https://a.example/"+text
		edit := of(acme, "/rules/"+acme.String()+"/edit")
		back(session, edit, edit)
		if f.saved.Webhook != f.rules[0].Webhook {
			t.Errorf("the rule saved unchanged has the webhook %q, not %q", f.saved.Webhook, f.rules[0].Webhook)
		}
		back(operator, eventTypeAddress("own"), eventTypePath)
		if want := text + "\nsecond line"; f.savedType.Message != want {
			t.Errorf("the event type saved unchanged has the message %q, not %q", f.savedType.Message, want)
		}
	}
}

// TestClientIsDeletedByItsNameAsItIsSeen: a character that cannot be typed needs not be typed as it is.
func TestClientIsDeletedByItsNameAsItIsSeen(t *testing.T) {
	for typed, status := range map[string]int{"a\u202eb  \u2067c": http.StatusSeeOther, "a‹U+202E›b ‹U+2067›c": http.StatusSeeOther, "ab c": http.StatusUnprocessableEntity} {
		f := newFixture(t)
		f.name = "a\u202eb  \u2067c"
		if w := f.request(f.signedIn("operator"), http.MethodPost, managePath(acme)+"/delete", url.Values{"name": {typed}}); w.Code != status {
			t.Errorf("%q: status %d, want %d", typed, w.Code, status)
		}
	}
}

func TestOnlyWhatIsShownIsMarked(t *testing.T) {
	for page, want := range map[string]string{
		"<p>a\u202eb\u200cc\r\nd\re</p>":                                                          "<p>a‹U+202E›b\u200cc\nd‹U+000D›e</p>",
		"<input name=\"x\" value=\"a\u202e>b\" title='\u202e\"'>\u202e":                           "<input name=\"x\" value=\"a\u202e>b\" title='‹U+202E›\"'>‹U+202E›",
		"<textarea name=\"x\" placeholder=\"\u202e\">\u202e\u00ad</textarea><i hidden>\u202e</i>": "<textarea name=\"x\" placeholder=\"‹U+202E›\">\u202e\u00ad</textarea><i hidden>‹U+202E›</i>",
		"<button data-copy=\"a\r\nb\u202e\" aria-label=\"Copy \u202e\"></button>":                 "<button data-copy=\"a&#13;\nb\u202e\" aria-label=\"Copy ‹U+202E›\"></button>",
		"<p title=\"\u202e": "<p title=\"‹U+202E›\"", // never sent: a page is whole
	} {
		if got := visibleHTML(page); got != want {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
}

// TestCurlIsWhatIsSent: odd characters of a command are written so that a shell makes them again.
func TestCurlIsWhatIsSent(t *testing.T) {
	for text, want := range map[string]string{
		"می\u200cخواهم": "'می\u200cخواهم'", "it's \\ a\u202eb\r\n\xff": `$'it\'s \\ a\342\200\256b\015` + "\n" + `\377'`,
	} {
		if got := quote(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
