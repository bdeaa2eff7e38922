package browser_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/test/browser"
)

// hostile is what a stranger may write: markup, marks that turn the order of characters, and what no terminal likes.
const hostile = "<script>window.pwned = 1</script>\"'><img src=x onerror='window.pwned=1'>{{.}}\u202egnp.exe\u202c\u2066\u200f"

// TestStrangersTextsDoNothing walks the pages of a client whose publishers and receivers write the worst: markup, a megabyte in
// one line, bytes that are no text. Nothing of it runs, no page becomes wide or large, and raw bodies stay text.
func TestStrangersTextsDoNothing(t *testing.T) {
	s := startService(t)
	a := s.account("<b onclick=alert(1)>Acme</b> \u202eemca")
	bodies := []string{hostile + strings.Repeat("x", 1<<20), "nul\x00 bell\x07 esc\x1b[2J broken \xff\xfe\xc3 " + hostile, strings.Repeat(hostile+"\n", 4000)}
	for i, body := range bodies {
		address := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-"+strings.Repeat("Long-Name-", 20)] = []string{"<script>window.pwned=1</script>" + strings.Repeat("y", 2000)}
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		})
		a.rule("Sync Failed", address+"/"+strings.Repeat("path", 200)+"?<script>='\"", []uuid.UUID{companies[0], companies[1], companies[2]}[i])
		data, err := json.Marshal(map[string]string{"syncId": hostile + strings.Repeat("z", 50_000), "syncType": hostile, "FailureStage": "\u202e"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.api.Publish(t.Context(), client.Event{Type: "Sync Failed", CompanyID: companies[i], Data: data, Message: hostile}); err != nil {
			t.Fatal(err)
		}
	}
	all := a.attempted(1)
	var from []string
	for _, d := range all {
		one := a.path("/deliveries/" + d.ID.String())
		from = append(from, one, one+"?all=request", one+"?all=response")
	}
	if _, err := a.api.Redeliver(t.Context(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.api.CreateKey(t.Context(), "<img src=x onerror=alert(1)>", "analyst"); err != nil {
		t.Fatal(err)
	}
	a.attempted(1)
	tab := s.signedIn(t, a.APIKey)
	from = append(from, a.path(""), a.path("/find?id="+"%3Cscript%3E%E2%80%AE"), a.path("/deliveries?receiver=%3Cscript%3Ewindow.pwned%3D1%3C/script%3E%E2%80%AE"))
	for _, at := range s.wander(t, a.APIKey, from...).stops {
		if at.status >= 300 && at.status < 400 {
			continue
		}
		tab.Open(at.path, at.status)
		harmless(t, tab, at.path)
		if !at.isPage {
			continue
		}
		for _, width := range []int{320, 1440} {
			tab.Look(width, "light")
			fits(t, tab, at.path)
		}
	}
}

// harmless reports what a stranger's text has done in the page.
func harmless(t *testing.T, tab *browser.Tab, path string) {
	t.Helper()
	found := browser.Ask[struct {
		Ran     bool
		Markup  int
		Turning bool
		Length  int
	}](tab, `(() => {
		const page = document.documentElement.cloneNode(true);
		for (const e of page.querySelectorAll("[value], [data-copy], textarea")) { // exact, for forms and for copying
			e.removeAttribute("value"); e.removeAttribute("data-copy");
			if (e.matches("textarea")) e.textContent = "";
		}
		return {Ran: "pwned" in window, Markup: document.querySelectorAll("script:not([src]), img[src=x], b[onclick], [onerror]").length,
		Turning: document.contentType === "text/html" && /[\u0000\u202a-\u202e\u2066-\u2069\u200f]/.test(page.outerHTML), Length: document.documentElement.outerHTML.length};
	})()`)
	if found.Ran || found.Markup > 0 || found.Turning {
		t.Errorf("%s: %+v", path, found)
	}
	if found.Length > 2<<20 {
		t.Errorf("%s has %d characters", path, found.Length)
	}
}
