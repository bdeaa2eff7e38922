package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"herald/internal/test/browser"
)

// retype replaces what the field that a selector finds has.
func retype(tab *browser.Tab, selector, text string) {
	browser.Ask[bool](tab, fmt.Sprintf(`document.querySelector(%q).value = ""; true`, selector))
	tab.Type(selector, text)
}

// TestOperatorsJourney: the operator finds a client by a search, looks at its deliveries, goes back, makes and renames a
// client, saves an event type at the second try, and looks at the system.
func TestOperatorsJourney(t *testing.T) {
	s := startService(t)
	acme := s.account("Söhne & Partner")
	acme.seed(t)
	for i := range 60 { // more than a page
		s.account(fmt.Sprintf("Other %d", i))
	}
	tab := s.signedIn(t, operatorKey)
	if tab.Path() != "/portal/clients" {
		t.Fatalf("the sign-in leads to %s", tab.Path())
	}
	if strings.Contains(tab.Text(`[aria-label="Clients"]`), "Partner") {
		t.Fatal("the client is on the first page of the list, where nobody has to search")
	}
	if !strings.Contains(tab.Text(`[aria-labelledby="urgent"]`), "Partner") {
		t.Error("a client whose receivers fail is not the first that the operator sees")
	}
	tab.Type("#search", "SÖHNE")
	tab.Until(`document.querySelectorAll("#results tbody tr").length === 1 && location.search === "?search=S%C3%96HNE"`)
	accessible(t, tab, "a search for a client")
	tab.Goes("open the client", click("#results a.whole"))
	tab.Goes("open its deliveries", click(`a[href="`+acme.path("/deliveries")+`"]`))
	if text := tab.Text(".acting"); tab.Path() != acme.path("/deliveries") || !strings.Contains(text, "You look at Söhne & Partner as the operator") {
		t.Errorf("at %s the bar says %q", tab.Path(), text)
	}
	accessible(t, tab, "a client's deliveries for the operator")
	tab.Back(`location.pathname === "` + acme.path("") + `"`)
	tab.Back(`location.pathname === "/portal/clients" && document.querySelectorAll("#results tbody tr").length === 1`)
	if value := browser.Ask[string](tab, `document.getElementById("search").value`); value != "SÖHNE" {
		t.Errorf("back at the list, the search is %q", value)
	}

	tab.Goes("all clients", click(`a[href="/portal/clients"]`))
	tab.Type("#name", "Neu & Co")
	tab.Goes("create a client", click("main form.line-form button.primary"))
	if key := tab.Text("#secret"); !strings.HasPrefix(key, "hk") {
		t.Errorf("the new client's key is %q", key)
	}
	tab.Goes("manage it", click(`.actions a[href^="/portal/operator/clients/"]`))
	retype(tab, "#name", "Neuer Name")
	tab.Goes("rename it", click(`form[action$="/rename"] button`))
	if title, notice := tab.Text("h1"), tab.Text("main"); title != "Neuer Name" || !strings.Contains(browser.Ask[string](tab, "document.body.innerText"), "The client has its new name.") {
		t.Errorf("renamed, the page has the title %q: %.300s", title, notice)
	}
	operatorSavesAType(t, tab)

	tab.Goes("the system", click(`nav a[href="/portal/system"]`))
	if text := tab.Text("main"); !strings.Contains(text, "Growth in 24 hours: not known yet; 7 days: not known yet") || !strings.Contains(text, "SQLite") {
		t.Errorf("the page of the system says %s", text)
	}
	accessible(t, tab, "the system")
}

// operatorSavesAType saves an event type. Its schema is wrong first: the message is beside the field, and what was typed stays.
func operatorSavesAType(t *testing.T, tab *browser.Tab) {
	t.Helper()
	tab.Goes("the event types", click(`nav a[href="/portal/event-types"]`))
	tab.Goes("add one", click(`main a[href="/portal/event-type"]`))
	tab.Refused("/portal/event-type")
	tab.Type("#name", "Invoice paid")
	tab.Type("#schema", `{"type": "objekt"}`)
	tab.Goes("save it", click(`button[value="save"]`))
	beside := browser.Ask[string](tab, `(() => {
		const field = document.getElementById("schema");
		return field.getAttribute("aria-invalid") === "true" ? document.getElementById(field.getAttribute("aria-describedby")).innerText : "";
	})()`)
	if !strings.Contains(beside, "objekt") && !strings.Contains(beside, "type") {
		t.Errorf("beside the schema is %q", beside)
	}
	if name := browser.Ask[string](tab, `document.getElementById("name").value`); name != "Invoice paid" {
		t.Errorf("the name that was typed is %q", name)
	}
	accessible(t, tab, "an event type with a wrong schema")
	retype(tab, "#schema", `{"type": "object"}`)
	tab.Goes("save it", click(`button[value="save"]`))
	if title := tab.Text("h1"); title != "Invoice paid" || !strings.Contains(browser.Ask[string](tab, "document.body.innerText"), "The event type is saved.") {
		t.Errorf("saved, the page has the title %q", title)
	}
}

// TestClientsAreSearchedWithoutScripts: by the form's button, and the pages keep the search.
func TestClientsAreSearchedWithoutScripts(t *testing.T) {
	s := startService(t)
	for i := range 60 {
		s.account(fmt.Sprintf("Acme %d", i))
	}
	rival := s.account("Rival")
	tab := s.signedIn(t, operatorKey)
	tab.Scripts(false)
	tab.Open("/portal/clients", http.StatusOK)
	tab.Type("#search", "acme")
	tab.Goes("search", click(`form[role="search"] button`))
	tab.Goes("the next page", click(`a[rel="next"]`))
	tab.Goes("the first page", click(`.pager a:not([rel])`))
	if tab.Path() != "/portal/clients?search=acme" {
		t.Errorf("the first page is at %s", tab.Path())
	}
	tab.Open("/portal/clients?search="+rival.ID.String(), http.StatusOK)
	tab.Goes("open what the id finds", click("#results a.whole"))
	if tab.Path() != rival.path("") {
		t.Errorf("the id finds %s", tab.Path())
	}
}
