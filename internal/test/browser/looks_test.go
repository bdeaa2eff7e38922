package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/test/browser"
)

// hidden lists what a printed page does not show of the facts, and which controls it shows.
const hidden = `(() => {
	const found = [], shows = (e) => e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}) && e.getClientRects().length > 0;
	const name = (e) => e.outerHTML.slice(0, 80);
	for (const e of document.querySelectorAll("button, input, select, textarea, a.button, nav a, header.top, .copy, .more a")) if (shows(e)) found.push("a control: " + name(e));
	for (const e of document.querySelectorAll("main section, main dd, main details > :not(summary), main pre, main table.headers td, main time")) if (!shows(e)) found.push("not shown: " + name(e));
	for (const e of document.querySelectorAll("main pre, main td, main dd, main section")) {
		if (shows(e) && (e.scrollHeight > e.clientHeight + 2 && getComputedStyle(e).overflowY !== "visible" || e.scrollWidth > e.clientWidth + 2 && getComputedStyle(e).overflowX !== "visible")) found.push("cut: " + name(e));
	}
	const wide = document.documentElement;
	if (wide.scrollWidth > wide.clientWidth) found.push("the page is " + wide.scrollWidth + " px wide, the paper " + wide.clientWidth);
	return found;
})()`

// TestPrintedDeliveryIsWhole: on paper, the page of a delivery shows everything, folds nothing and has no controls.
func TestPrintedDeliveryIsWhole(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.rule("Sync Failed", receiver(t, answers(http.StatusUnauthorized, `{"error":"`+strings.Repeat("a long text ", 60)+`","last":"end of the answer"}`)), uuid.Nil)
	data := map[string]any{"syncId": "c2b7e5a4-1f0d-4d3e-9a52-6b7f3f1f2a10", "syncType": "Expense", "FailureStage": "Pushing", "zlines": make([]int, 120), "zlast": "end of the body"}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.api.Publish(t.Context(), client.Event{Type: "Sync Failed", CompanyID: companies[0], Data: text}); err != nil {
		t.Fatal(err)
	}
	failed := pick(a.attempted(1), herald.Failed)
	tab := s.signedIn(t, a.key("developer").APIKey)
	for _, width := range []int{768, 390} { // A4, and a phone that prints
		tab.Look(width, "dark")
		tab.Open(a.path("/deliveries/"+failed.ID.String()), http.StatusOK)
		tab.Print()
		if found := browser.Ask[[]string](tab, hidden); len(found) > 0 {
			t.Errorf("%d px: %s", width, strings.Join(found, "\n"))
		}
		paper := tab.Text("main")
		for _, want := range []string{"Your server answered 401", "end of the answer", "end of the body", "Attempt 1", "curl", failed.ID.String()[:8], "Authorization"} {
			if !strings.Contains(paper, want) {
				t.Errorf("%d px: the paper does not have %q", width, want)
			}
		}
		if ground := browser.Ask[string](tab, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(255, 255, 255)" {
			t.Errorf("the paper is %s", ground)
		}
	}
}

// TestPrintingShowsWhatIsFolded: whoever prints the page of a delivery gets all attempts and all lines, and then sees the page as it was.
func TestPrintingShowsWhatIsFolded(t *testing.T) {
	s := startService(t, func(c *app.Config) { c.RetrySchedule = []time.Duration{time.Millisecond, time.Millisecond} })
	a := s.account("Acme")
	var n atomic.Int32
	a.rule("Sync Failed", receiver(t, func(w http.ResponseWriter, r *http.Request) {
		answers(http.StatusServiceUnavailable, strings.Repeat("a line\n", 1000)+fmt.Sprintf("the end of answer %d \x00\xff", n.Add(1)))(w, r)
	}), uuid.Nil)
	a.publish(companies[0])
	failed := pick(a.attempted(3), herald.Failed)
	tab := s.signedIn(t, a.APIKey)
	tab.Look(1440, "light")
	tab.Open(a.path("/deliveries/"+failed.ID.String()), http.StatusOK)
	before := tab.Text("main")
	if strings.Contains(before, "the end of answer") {
		t.Fatal("nothing is folded")
	}
	tab.Print()
	browser.Ask[bool](tab, `dispatchEvent(new Event("beforeprint"))`)
	if found := browser.Ask[[]string](tab, hidden); len(found) > 0 {
		t.Error(strings.Join(found, "\n"))
	}
	paper := tab.Text("main")
	for n := 1; n <= failed.AttemptCount; n++ {
		if !strings.Contains(paper, fmt.Sprintf("the end of answer %d", n)) || !strings.Contains(paper, fmt.Sprintf("Attempt %d", n)) {
			t.Errorf("the paper does not have all of attempt %d of %d", n, failed.AttemptCount)
		}
	}
	if !strings.Contains(paper, "Each \ufffd stands for what is not kept as it came") {
		t.Error("the paper does not say that bytes were replaced")
	}
	browser.Ask[bool](tab, `dispatchEvent(new Event("afterprint"))`)
	tab.Look(1440, "light")
	if after := tab.Text("main"); after != before {
		t.Errorf("after printing the page has\n%s\nnot\n%s", after, before)
	}
	tab.Open(a.path("/deliveries/"+failed.ID.String()+"?all=print"), http.StatusOK)
	accessible(t, tab, "all of a delivery")
	fits(t, tab, "all of a delivery")
}

// usable selects what can be used, and rows that lie under the pointer.
const usable = "a[href], button, input, select, textarea, summary, tbody tr"

// outlines lists the elements whose outline does not stand out from what is around it, by less than 3 to 1 (WCAG 1.4.11).
const outlines = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const pixel = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const found = [];
	for (const e of document.querySelectorAll("a[href], button, input, select, textarea, summary")) {
		if (!e.checkVisibility({visibilityProperty: true})) continue;
		const own = getComputedStyle(e), after = getComputedStyle(e, "::after"), style = own.outlineStyle !== "none" ? own : after;
		if (style.outlineStyle === "none") continue; // tabThrough finds these
		let around = parseFloat(style.outlineOffset) < 0 ? e : e.parentElement;
		while (around && pixel(getComputedStyle(around).backgroundColor)[3] < 255) around = around.parentElement;
		const a = light(pixel(style.outlineColor)), b = light(pixel(around ? getComputedStyle(around).backgroundColor : "white"));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 3) found.push(ratio.toFixed(2) + " to 1: " + e.outerHTML.slice(0, 100));
	}
	return found;
})()`

// TestContrastOnHoverAndFocus: in both colours, what the pointer or the focus is on can be read, and the outline of the
// focus is seen.
func TestContrastOnHoverAndFocus(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	failed := pick(a.attempted(2), herald.Failed)
	tab := s.signedIn(t, operatorKey)
	const contrast = `axe.run(document, {preload: false, resultTypes: ["violations"], runOnly: ["color-contrast", "link-in-text-block"]})
		.then((r) => r.violations.flatMap((v) => v.nodes.slice(0, 3).map((n) => n.failureSummary.replaceAll("\n", " ") + " " + n.html.slice(0, 200))))`
	for _, path := range []string{
		"/portal/clients", "/portal/operator/clients/" + a.ID.String(), "/portal/event-types", "/portal/system", a.path(""), a.path("/deliveries"),
		a.path("/deliveries/" + failed.ID.String()), a.path("/rules/new"), a.path("/catalogue/Sync%20Failed"), a.path("/settings/keys"),
	} {
		for _, scheme := range []string{"light", "dark"} {
			tab.Look(1440, scheme)
			tab.Open(path, http.StatusOK)
			browser.Ask[bool](tab, axe+"; true")
			for what, classes := range map[string][]string{"hover": {"hover"}, "focus": {"focus", "focus-visible"}, "hover and focus": {"hover", "focus", "focus-visible"}} {
				if n := tab.Force(usable, classes...); n < 5 {
					t.Fatalf("%s: %d elements can be used", path, n)
				}
				for _, found := range browser.Ask[[]string](tab, contrast) {
					t.Errorf("%s, %s, %s: %s", path, scheme, what, found)
				}
				if what == "hover" {
					continue
				}
				for _, found := range browser.Ask[[]string](tab, outlines) {
					t.Errorf("%s, %s, %s: the outline has %s", path, scheme, what, found)
				}
			}
			tab.Force(usable)
		}
	}
}

// loose lists what is not as it should be in a page whose details are all open: targets that are too small, heads that stand
// elsewhere than their values, and heads that are broken within a word.
const loose = `(() => {
	const found = [], name = (e) => e.outerHTML.slice(0, 100);
	for (const e of document.querySelectorAll("main details:not(.menu)")) e.open = true;
	for (const e of document.querySelectorAll("main :is(.card > header a, summary, .rows td a:not(.whole), .facts a, .more a, .trail a)")) {
		const box = e.getBoundingClientRect();
		if (e.checkVisibility() && box.height < 24) found.push(box.height + " px high: " + name(e));
	}
	for (const table of document.querySelectorAll("main table")) for (const row of [...table.tBodies[0].rows].slice(0, 3)) for (const [i, cell] of [...row.cells].entries()) {
		const head = table.tHead?.rows[0].cells[i], side = (e) => getComputedStyle(e).textAlign.replace("start", "left").replace("end", "right");
		if (head && getComputedStyle(table.tHead).position !== "absolute" && head.checkVisibility() && head.textContent && !head.querySelector(":scope > .visually-hidden") && row.cells.length === table.tHead.rows[0].cells.length && side(head) !== side(cell)) found.push("a head stands elsewhere: " + name(head) + name(cell));
	}
	for (const head of document.querySelectorAll("main th")) for (const text of head.childNodes) {
		if (text.nodeType !== Node.TEXT_NODE || !head.checkVisibility()) continue;
		for (const word of text.data.matchAll(/[^\s-]{2,13}/g)) {
			const range = document.createRange();
			range.setStart(text, word.index);
			range.setEnd(text, word.index + word[0].length);
			if (range.getClientRects().length > 1) found.push("broken: " + word[0]);
		}
	}
	return found;
})()`

// TestTablesAndTargets looks at what is easily overlooked, at the widths of a screen and of phones.
func TestTablesAndTargets(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	var paths []string
	for _, d := range a.attempted(1) {
		if at := a.path("/deliveries/" + d.ID.String()); d.AttemptCount > 1 {
			paths = append(paths, at, at+"/compare", a.path("/events/"+d.EventID.String()))
			break
		}
	}
	if len(paths) == 0 {
		t.Fatal("no delivery was attempted twice")
	}
	tab := s.signedIn(t, operatorKey)
	for _, path := range append(paths, "/portal/clients", "/portal/system", "/portal/event-types", a.path(""), a.path("/deliveries"), a.path("/events"), a.path("/rules"), a.path("/settings/keys"), a.path("/settings/audit")) {
		for _, width := range []int{1440, 390, 320} {
			tab.Look(width, "light")
			tab.Open(path, http.StatusOK)
			for _, found := range browser.Ask[[]string](tab, loose) {
				t.Errorf("%s, %d px: %s", path, width, found)
			}
			fits(t, tab, fmt.Sprintf("%s, %d px, all open", path, width))
		}
	}
}
