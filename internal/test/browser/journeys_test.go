package browser_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/client"
	"herald/internal/test/browser"
)

// click is a click on the first element that a selector finds.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// TestALinkSignsInOnce opens a portal link: it leads to its page, its secret is in no address and in no history, and it is
// used up.
func TestALinkSignsInOnce(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	made, err := s.operator.CreatePortalLink(t.Context(), a.ID, client.PortalLinkOptions{Role: "developer", Path: "/deliveries"})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(made.URL, s.origin)
	_, secret, _ := strings.Cut(path, "#")
	tab := browser.NewTab(t, s.origin)
	tab.Open(path, http.StatusOK)
	tab.Until(`location.pathname === "` + a.path("/deliveries") + `"`)
	for _, entry := range tab.History() {
		if strings.Contains(entry, secret) {
			t.Errorf("the history has the secret of the link: %s", entry)
		}
	}
	again := browser.NewTab(t, s.origin)
	again.Refused("/portal/link")
	again.Open(path, http.StatusOK)
	again.Until(`document.body.innerText.includes("has been used or has expired")`)
	accessible(t, again, "a link that was used")
}

// TestAWrongKeyIsSaidBesideTheField: the message is there, and the field has the focus of whoever tries again.
func TestAWrongKeyIsSaidBesideTheField(t *testing.T) {
	s := startService(t)
	tab := browser.NewTab(t, s.origin)
	tab.Open("/portal/sign-in", http.StatusOK)
	tab.Refused("/portal/sign-in")
	tab.Type("#key", "hkwrong")
	tab.Goes("sign in", click("button.primary"))
	if text := tab.Text("#key-error"); !strings.Contains(text, "No one has this key.") {
		t.Errorf("beside the field is %q", text)
	}
	if id := browser.Ask[string](tab, "document.activeElement.id"); id != "key" {
		t.Errorf("the focus is in %q", id)
	}
	accessible(t, tab, "the sign-in after a wrong key")
}

// TestOpenPagesFollowWhatHappens: a list announces new rows and changes those that are shown, a delivery changes, and nothing
// moves. When the session has ended, an open page stays as it is, says so, and asks no more.
func TestOpenPagesFollowWhatHappens(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	key := a.key("developer")
	waits := pick(a.attempted(2), herald.Pending)
	tab := s.signedIn(t, key.APIKey)
	tab.Hurry()
	tab.Open(a.path("/deliveries"), http.StatusOK)
	const firstRow = `document.querySelector("#results a.whole").getAttribute("href")`
	first := browser.Ask[string](tab, firstRow)
	if _, err := a.api.Publish(t.Context(), syncFailed(companies[2])); err != nil {
		t.Fatal(err)
	}
	tab.Until(`document.getElementById("new-rows").textContent === "1 new" && document.getElementById("live").textContent === "1 new"`)
	if now := browser.Ask[string](tab, firstRow); now != first {
		t.Errorf("the first row was %q and is %q", first, now)
	}
	accessible(t, tab, "a list with new rows")
	if _, err := a.api.Cancel(t.Context(), waits.ID); err != nil {
		t.Fatal(err)
	}
	tab.Until(`document.querySelector('#results a[href$="` + waits.ID.String() + `"]').closest("tr").innerText.includes("Cancelled")`)
	tab.Goes("see the new ones", click("#new-rows"))
	if browser.Ask[string](tab, firstRow) == first {
		t.Error("the new row is not shown")
	}
	other := pick(a.attempted(2), herald.Pending)
	tab.Open(a.path("/deliveries/"+other.ID.String()), http.StatusOK)
	if _, err := a.api.Cancel(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	tab.Until(`document.querySelector("main .head").innerText.includes("Cancelled")`)
	accessible(t, tab, "a delivery that changed")

	tab.Open(a.path("/deliveries"), http.StatusOK)
	if err := a.api.DeleteKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	tab.Until(`document.querySelector("main .banner")?.innerText.includes("Your session has ended.")`)
	accessible(t, tab, "a page whose session has ended")
	tab.Goes("sign in again", click("main .banner a"))
	if !strings.HasPrefix(tab.Path(), "/portal/sign-in?next=") {
		t.Errorf("the link leads to %s", tab.Path())
	}
}

// TestPagesSayWhatIsSoNow: a row that leaves its filter says what became of it, and the overview and the operator's pages say
// how things are now. What is open or was typed there stays.
func TestPagesSayWhatIsSoNow(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	waits := pick(a.attempted(2), herald.Pending)
	tab := s.signedIn(t, a.APIKey)
	tab.Hurry()
	cancel := func(d client.Delivery) {
		t.Helper()
		if _, err := a.api.Cancel(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
	}
	tab.Open(a.path("/deliveries?state=pending"), http.StatusOK)
	cancel(waits)
	tab.Until(`document.querySelector('#results a[href$="` + waits.ID.String() + `"]').closest("tr").innerText.includes("Cancelled")`)
	accessible(t, tab, "a list with a row that has left it")

	tab.Open(a.path(""), http.StatusOK)
	tab.Click("details:has(.by-hour) summary")
	waits = pick(a.attempted(2), herald.Pending)
	link := `document.querySelector('[aria-labelledby=waiting] a[href$="` + waits.ID.String() + `"]')`
	tab.Until(link + ` !== null`)
	cancel(waits)
	tab.Until(link + ` === null && document.querySelector("details:has(.by-hour)").open`)
	accessible(t, tab, "an overview that has changed")

	operator := s.signedIn(t, operatorKey)
	operator.Hurry()
	operator.Open("/portal/clients", http.StatusOK)
	s.account("Newcomer")
	operator.Until(`document.querySelector("main").innerText.includes("Newcomer")`)
}

// TestNewRowsAreCounted: a list says how many rows are new, exactly while one page has them all.
func TestNewRowsAreCounted(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	publish := func(n int) {
		if _, err := a.api.PublishAll(t.Context(), slices.Repeat([]client.Event{syncFailed(companies[2])}, n)); err != nil {
			t.Fatal(err)
		}
	}
	publish(2)
	tab := s.signedIn(t, a.APIKey)
	tab.Hurry()
	for _, n := range []int{5, 55} {
		want := map[int]string{5: "5 new", 55: "50 or more new"}[n]
		tab.Open(a.path("/events"), http.StatusOK)
		publish(n)
		tab.Until(`document.getElementById("new-rows").textContent === "` + want + `"`)
	}
}

// TestBackDoesWhatOneExpects: the browser's back button leads through filters and pages as they were.
func TestBackDoesWhatOneExpects(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, a.APIKey)
	tab.Open(a.path("/deliveries"), http.StatusOK)
	tab.Choose("#state", "failed")
	tab.Until(`location.search === "?state=failed" && document.querySelectorAll("#results tbody tr").length === 3 && !document.querySelector(".htmx-request")`)
	accessible(t, tab, "a list that was filtered")
	tab.Goes("open the first", click("#results a.whole"))
	if text := tab.Text("main"); !strings.Contains(text, "answered 401") {
		t.Errorf("the delivery says: %.500s", text)
	}
	tab.Goes("compare", click(`a[href$="/deliveries/`+strings.TrimPrefix(tab.Path(), a.path("/deliveries/"))+`?attempt=1#attempt"]`))
	tab.Back(`location.pathname.includes("/deliveries/") && location.search === ""`)
	tab.Back(`location.search === "?state=failed" && document.querySelectorAll("#results tbody tr").length === 3 && document.getElementById("state").value === "failed"`)
	tab.Back(`location.search === "" && document.querySelectorAll("#results tbody tr").length === 50 && document.getElementById("state").value === ""`)
	tab.Goes("older", click(`a[rel="next"]`))
	if rows := browser.Ask[int](tab, `document.querySelectorAll("#results tbody tr").length`); rows >= 50 || rows == 0 {
		t.Errorf("the second page has %d rows", rows)
	}
	tab.Back(`document.querySelectorAll("#results tbody tr").length === 50`)
}

// TestKeysDoWhatTheySay uses the shortcuts, and switches them off.
func TestKeysDoWhatTheySay(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, a.APIKey)
	tab.Press("/")
	tab.Until(`document.activeElement.id === "find"`)
	tab.Open(a.path(""), http.StatusOK)
	tab.Press("gd")
	tab.Until(`location.pathname.endsWith("/deliveries") && document.readyState === "complete"`)
	tab.Press("?")
	tab.Until(`document.getElementById("shortcuts").open`)
	accessible(t, tab, "the dialog of the shortcuts")
	tab.Press(kb.Escape)
	tab.Until(`!document.getElementById("shortcuts").open`)
	tab.Press("jjk")
	tab.Until(`document.activeElement === document.querySelector("main a.whole")`)
	tab.Goes("Enter", chromedp.KeyEvent(kb.Enter))
	if !strings.HasPrefix(tab.Path(), a.path("/deliveries/")) {
		t.Errorf("Enter leads to %s", tab.Path())
	}
	tab.Press("?")
	tab.Goes("switch them off", click(`#shortcuts button[value="off"]`))
	tab.Press("gd?")
	if open := browser.Ask[bool](tab, `Boolean(document.querySelector("dialog[open]"))`); open || !strings.HasPrefix(tab.Path(), a.path("/deliveries/")) {
		t.Errorf("the shortcuts work although they are off; the page is %s", tab.Path())
	}
}

// TestOpenMenusAndDialogsAreAccessible looks at what opens on a page.
func TestOpenMenusAndDialogsAreAccessible(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, a.APIKey)
	for width, scheme := range map[int]string{1440: "light", 320: "dark"} {
		tab.Look(width, scheme)
		tab.Open(a.path("/deliveries?state=failed"), http.StatusOK)
		tab.Click("details.menu summary")
		fits(t, tab, "the open menu")
		accessible(t, tab, "the open menu")
		tab.Press(kb.Escape)
		tab.Until(`!document.querySelector("details.menu[open]") && document.activeElement.matches("details.menu summary")`)
		tab.Click(".filters details summary")
		fits(t, tab, "all filters")
		accessible(t, tab, "all filters")
	}
	pending := a.attempted(2)
	tab.Open(a.path("/deliveries/"+pick(pending, herald.Pending).ID.String()), http.StatusOK)
	tab.Click("a[data-dialog]")
	tab.Until(`Boolean(document.querySelector("dialog[open]"))`)
	fits(t, tab, "the dialog before a cancelling")
	accessible(t, tab, "the dialog before a cancelling")
	tab.Press(kb.Escape)
	tab.Until(`!document.querySelector("dialog[open]") && document.activeElement.matches("a[data-dialog]")`)
	tab.Click("a[data-dialog]")
	tab.Until(`Boolean(document.querySelector("dialog[open]"))`)
	tab.Goes("cancel", click("dialog[open] button.danger"))
	if text := tab.Text("main"); !strings.Contains(text, "The delivery was cancelled.") {
		t.Errorf("after the cancelling the page says: %.300s", text)
	}
	accessible(t, tab, "a notice")
}

// TestPortalWorksWithoutScripts signs in, filters, redelivers and signs out without a script.
func TestPortalWorksWithoutScripts(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := browser.NewTab(t, s.origin)
	tab.Scripts(false)
	tab.Open("/portal/sign-in", http.StatusOK)
	tab.Type("#key", a.APIKey)
	tab.Goes("sign in", click("button.primary"))
	tab.Goes("deliveries", click(`nav a[href$="/deliveries"]`))
	tab.Choose("#state", "failed")
	tab.Goes("filter", click("[data-unscripted] .button"))
	if rows := browser.Ask[int](tab, `document.querySelectorAll("#results tbody tr").length`); rows != 3 {
		t.Errorf("%d rows are failed", rows)
	}
	if browser.Ask[bool](tab, `document.documentElement.classList.contains("scripted")`) {
		t.Fatal("scripts run")
	}
	fits(t, tab, "a list without scripts")
	tab.Goes("open the last", click("#results tbody tr:last-child a.whole"))
	fits(t, tab, "a delivery without scripts")
	tab.Goes("redeliver", click(`form[action$="/redeliver"] button`))
	if text := tab.Text("main"); !strings.Contains(text, "A new delivery of the same alert was made.") {
		t.Errorf("after redelivering the page says: %.300s", text)
	}
	tab.Click("details.menu summary")
	tab.Choose("#theme", "dark")
	tab.Goes("dark", click(`form[action="/portal/preferences"] [data-unscripted]`))
	if theme := browser.Ask[string](tab, `document.documentElement.dataset.theme`); theme != "dark" {
		t.Errorf("the theme is %q", theme)
	}
	tab.Click("details.menu summary")
	tab.Goes("sign out", click(`form[action="/portal/sign-out"] button`))
	if text := tab.Text("main"); !strings.Contains(text, "You are signed out.") {
		t.Errorf("after signing out the page says: %.300s", text)
	}
}

// TestChosenColoursAreTheSystems: dark and light are the same whether the system or the visitor chose them.
func TestChosenColoursAreTheSystems(t *testing.T) {
	tab := browser.NewTab(t, startService(t).origin)
	tab.Open("/portal/sign-in", http.StatusOK)
	const colours = `(() => {
		const probe = document.body.appendChild(document.createElement("p"));
		const found = [...getComputedStyle(document.documentElement)].filter((name) => name.startsWith("--")).sort().map((name) => {
			probe.style.color = "var(" + name + ")";
			return name + " " + getComputedStyle(probe).color;
		});
		probe.remove();
		return found;
	})()`
	seen := make(map[string][]string)
	for scheme, other := range map[string]string{"light": "dark", "dark": "light"} {
		tab.Look(1440, scheme)
		browser.Ask[bool](tab, `delete document.documentElement.dataset.theme`)
		of := browser.Ask[[]string](tab, colours)
		tab.Look(1440, other)
		browser.Ask[string](tab, `document.documentElement.dataset.theme = "`+scheme+`"`)
		if diff := cmp.Diff(of, browser.Ask[[]string](tab, colours)); diff != "" {
			t.Errorf("%s of the system and chosen:\n%s", scheme, diff)
		}
		seen[scheme] = of
	}
	if len(seen["light"]) < 20 || slices.Equal(seen["light"], seen["dark"]) {
		t.Errorf("the colours are %v", seen)
	}
}

// TestARevokedKeyEndsItsSession: the next page is the sign-in, and a page that was left open stays as it is without a word
// in the console.
func TestARevokedKeyEndsItsSession(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	key := a.key("developer")
	tab := s.signedIn(t, key.APIKey)
	tab.Open(a.path("/deliveries"), http.StatusOK)
	if err := a.api.DeleteKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	tab.Choose("#state", "failed") // by htmx, which must not put the sign-in into the page
	tab.Until(`location.pathname === "/portal/sign-in"`)
	tab.Open(a.path(""), http.StatusOK)
	if !strings.HasPrefix(tab.Path(), "/portal/sign-in?next=") {
		t.Errorf("after its key was revoked the session opens %s", tab.Path())
	}
}
