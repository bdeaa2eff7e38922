package browser_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"herald/client"
	"herald/internal/test/browser"
)

// copies makes the next pages keep what they copy.
const copies = `Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => { window.copied = text; }}})`

// TestTimesAreReachedByKeyboard: a time with the focus shows the exact one in the reader's zone, and Enter copies it as RFC 3339.
func TestTimesAreReachedByKeyboard(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, operatorKey)
	tab.Zone("Asia/Kolkata")
	tab.Before(copies)
	for _, path := range []string{a.path("/deliveries"), a.path(""), a.path("/settings/keys"), a.path("/deliveries/" + a.attempted(1)[0].ID.String())} {
		for _, width := range []int{1440, 320} {
			tab.Look(width, "light")
			tab.Open(path, http.StatusOK)
			if n := browser.Ask[int](tab, `[...document.querySelectorAll("main time")].filter((e) => e.checkVisibility() && e.tabIndex < 0 && !e.closest("a, button, summary")).length`); n > 0 {
				t.Errorf("%s: the focus does not come to %d times", path, n)
			}
			for from := ""; ; from = "passed" { // the next time, from the heading or from that before
				tab.Press(kb.Tab)
				if browser.Ask[bool](tab, `document.activeElement.matches("main time")`) {
					break
				}
				if from != "" && browser.Ask[bool](tab, `document.activeElement === document.body`) {
					t.Fatalf("%s, %d px: no time has the focus", path, width)
				}
			}
			exact := browser.Ask[string](tab, `(document.querySelector(".exact")?.checkVisibility() && document.querySelector(".exact").innerText) || document.activeElement.innerText`)
			if !strings.Contains(exact, "GMT+05:30") {
				t.Errorf("%s, %d px: with the focus it shows %q", path, width, exact)
			}
			fits(t, tab, path+" with the focus on a time")
			accessible(t, tab, path+" with the focus on a time")
			tab.Press(kb.Enter)
			tab.Until(`window.copied === document.activeElement.dateTime && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(window.copied)`)
			tab.Press(kb.Tab)
			if browser.Ask[bool](tab, `!document.activeElement.matches("time") && Boolean(document.querySelector(".exact"))`) {
				t.Errorf("%s: the exact time stays without the focus", path)
			}
		}
	}
}

// TestTimesOfFiltersAreTheReaders: what is typed is in the reader's zone, the page says so, and the address names the zone.
func TestTimesOfFiltersAreTheReaders(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, operatorKey)
	tab.Zone("Asia/Kolkata")
	for _, page := range []string{"/deliveries?since=3d", "/events?since=3d", "/settings/audit?since=3d"} {
		tab.Look(1440, "light")
		tab.Open(a.path(page), http.StatusOK)
		if text := tab.Text("#since-hint"); text != "2h or 3d ago, or 2026-11-23 09:00 in your time, GMT+05:30" {
			t.Errorf("%s: the hint is %q", page, text)
		}
		browser.Ask[bool](tab, `document.getElementById("since").value = ""; true`)
		tab.Type("#since", "2020-02-29 09:00\t")
		tab.Until(`location.search.includes("since=2020-02-29+09%3A00+%2B05%3A30") || location.search.includes("since=2020-02-29%2009%3A00%20%2B05%3A30")`)
		tab.Until(`document.querySelectorAll("#results tbody tr").length > 0 && document.getElementById("since").value === "2020-02-29 09:00 +05:30"`)
		if browser.Ask[bool](tab, `[...document.querySelectorAll("main .hint")].some((e) => e.scrollWidth > e.clientWidth)`) {
			t.Errorf("%s: the hint is cut", page)
		}
	}
}

// TestDialogsOpenOnWhatChangesNothing: Enter in a dialog that has just opened closes it, and a note is typed at once, at any width.
func TestDialogsOpenOnWhatChangesNothing(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, a.APIKey)
	rules, err := a.api.Rules(t.Context(), client.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rule := a.path("/rules/" + rules.Results[0].ID.String())
	tab.Open(rule, http.StatusOK)
	tab.Click("a[data-dialog]")
	tab.Until(`Boolean(document.querySelector("dialog[open]"))`)
	tab.Press(kb.Enter)
	tab.Until(`!document.querySelector("dialog[open]")`)
	if tab.Path() != rule {
		t.Errorf("Enter in the dialog before deleting leads to %s", tab.Path())
	}
	for _, width := range []int{320, 390, 1440} {
		tab.Look(width, "light")
		tab.Open(a.path(""), http.StatusOK)
		tab.Click(`.issues a[href$="/acknowledge"]`)
		tab.Until(`document.activeElement.matches("dialog[open] textarea")`)
		if outside := browser.Ask[[]string](tab, `[...document.querySelectorAll("dialog[open], dialog[open] *")].filter((e) => { const r = e.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth; }).map((e) => e.outerHTML.slice(0, 60))`); len(outside) > 0 {
			t.Errorf("%d px: off the screen: %q", width, outside)
		}
		accessible(t, tab, "the note")
		tab.Press("we look\rinto it")
		tab.Goes("acknowledge", click("dialog[open] button.primary"))
		if text := tab.Text(".issues"); !strings.Contains(text, "“we look\ninto it") {
			t.Errorf("%d px: the note: %q", width, text)
		}
	}
}

// TestFormsAreCheckedAsOneTypes: a schema with its example, and what a rule would have matched. The focus and what was typed stay.
func TestFormsAreCheckedAsOneTypes(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	if _, err := a.api.Publish(t.Context(), syncFailed(companies[0])); err != nil {
		t.Fatal(err)
	}
	tab := s.signedIn(t, operatorKey)
	tab.Open("/portal/event-type", http.StatusOK)
	tab.Type("#name", "Invoice paid")
	tab.Type("#schema", `{"required": ["total"]`)
	tab.Refused("/portal/event-type")
	tab.Until(`document.getElementById("check").innerText.includes("not JSON")`)
	tab.Type("#schema", `}`)
	tab.Type("#example", `{"total": 3}`)
	tab.Until(`document.getElementById("check").innerText.includes("The example meets the schema. Nothing was saved yet.")`)
	if !browser.Ask[bool](tab, `document.activeElement.id === "example" && document.getElementById("schema").value === '{"required": ["total"]}'`) {
		t.Error("the check takes the focus, or what was typed")
	}
	tab.Open(a.path("/rules/new"), http.StatusOK)
	tab.Type("#webhook", "https://your.example/hook")
	tab.Refused(a.path("/rules"))
	tab.Type("#type", "Sync Failed")
	tab.Until(`document.getElementById("preview").innerText.includes("would have matched 1")`)
	accessible(t, tab, "a rule and what it would have matched")
}
