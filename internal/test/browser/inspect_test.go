package browser_test

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"herald/internal/test/browser"
)

// axe is axe-core, which finds what keeps people from using a page. Its licence is beside it.
//
//go:embed testdata/axe/axe.min.js
var axe string

// accessible reports what axe finds in the page: all that it knows, with the size of targets (WCAG 2.2). It looks once nothing moves.
func accessible(t *testing.T, tab *browser.Tab, what string) {
	t.Helper()
	if !browser.Ask[bool](tab, "Boolean(window.axe)") {
		browser.Ask[bool](tab, axe+"; true")
	}
	const look = `Promise.all(document.getAnimations().map((a) => a.finished)).then(() =>
		axe.run(document, {preload: false, resultTypes: ["violations"], rules: {"target-size": {enabled: true}}}))`
	for _, found := range browser.Ask[[]string](tab, look+`.then((r) => r.violations.flatMap((v) => v.nodes.slice(0, 3).map((n) =>
		v.id + ": " + n.failureSummary.replaceAll("\n", " ") + " " + n.html.slice(0, 200))))`) {
		t.Errorf("%s: axe: %s", what, found)
	}
}

// sideways lists what sticks out of the page's width, or scrolls sideways and is no payload.
const sideways = `(() => {
	const wide = document.documentElement.clientWidth, found = [];
	const name = (e) => e.tagName.toLowerCase() + (e.id && "#" + e.id) + (e.getAttribute("class") ? "." + e.getAttribute("class").trim().replaceAll(/\s+/g, ".") : "");
	const all = [...document.body.querySelectorAll("*")].filter((e) => !e.parentElement.closest(".payload pre") && e.checkVisibility());
	if (document.documentElement.scrollWidth > wide) {
		found.push("the page is " + document.documentElement.scrollWidth + " px wide");
		found.push(...all.filter((e) => e.getBoundingClientRect().right > wide + 1).map(name).slice(0, 6));
	}
	for (const e of all) {
		if (/auto|scroll/.test(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth && !e.matches(".payload pre")) found.push(name(e) + " scrolls sideways");
	}
	// Controls do not cover each other. The link of a whole row has the row below it, and a link may be broken into lines.
	const controls = all.filter((e) => e.matches("a[href]:not(.whole, .skip), button, input:not([type=hidden]), select, textarea, summary") && e.checkVisibility({visibilityProperty: true}));
	const boxes = controls.map((e) => e.getClientRects()[0]);
	for (let i = 0; i < controls.length; i++) for (let j = 0; j < i; j++) {
		const a = boxes[i], b = boxes[j];
		if (!a || !b || controls[i].contains(controls[j]) || controls[j].contains(controls[i]) || controls[i].closest("details.menu > div, dialog") || controls[j].closest("details.menu > div, dialog")) continue;
		if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2
			&& getComputedStyle(controls[i].closest(".top") ?? document.body).position === getComputedStyle(controls[j].closest(".top") ?? document.body).position) found.push(name(controls[i]) + " covers " + name(controls[j]));
	}
	return found;
})()`

// fits reports what does not fit the width, and what covers something.
func fits(t *testing.T, tab *browser.Tab, what string) {
	t.Helper()
	if found := browser.Ask[[]string](tab, sideways); len(found) > 0 {
		t.Errorf("%s: %s", what, strings.Join(found, ", "))
	}
}

// focused says where the focus is, and what is wrong with how it shows.
type focused struct {
	Name  string
	Wrong string
}

// focus looks at the element with the focus: whether it is on the screen, nothing covers it, and it has an outline.
const focus = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body || e === document.documentElement) return {Name: "", Wrong: ""};
	window.passed ??= new Map();
	if (!window.passed.has(e)) window.passed.set(e, window.passed.size);
	const text = (e.getAttribute("aria-label") ?? e.textContent).trim().replaceAll(/\s+/g, " ").slice(0, 40);
	const name = window.passed.get(e) + " " + e.tagName.toLowerCase() + (e.id && "#" + e.id) + " " + text;
	const shows = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
	let wrong = "";
	if (!shows(getComputedStyle(e)) && !shows(getComputedStyle(e, "::after"))) wrong = "has no outline";
	const box = e.getBoundingClientRect(), top = document.querySelector("header.top");
	const under = top && getComputedStyle(top).position === "sticky" && !top.contains(e) && !e.matches(".skip") ? top.getBoundingClientRect().bottom : 0;
	if (box.bottom <= under || box.top >= innerHeight) wrong = "is under the header or off the screen, at " + Math.round(box.top) + " to " + Math.round(box.bottom) + " px";
	else if (box.top < under && box.bottom - under < 20 && box.height >= 20) wrong = "is under the header, at " + Math.round(box.top) + " px";
	if (box.width === 0 || box.height === 0) wrong = "has no size";
	return {Name: name, Wrong: wrong};
})()`

// mostTabs is how often Tab is pressed on one page at most.
const mostTabs = 400

// tabThrough presses Tab until the focus has been everywhere, and then Shift+Tab all the way back, on which the header could
// cover it. It reports where one does not see the focus, and returns the names of what had it.
func tabThrough(t *testing.T, tab *browser.Tab, what string) []string {
	t.Helper()
	all := tabbed(t, tab, what, chromedp.KeyEvent(kb.Tab))
	tabbed(t, tab, what+", backwards", chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	// What can be used has to be in that.
	missed := browser.Ask[[]string](tab, `[...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
		.filter((e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.type !== "hidden" && e.type !== "radio" && e.tabIndex >= 0 && !(window.passed?.has(e)))
		.map((e) => e.outerHTML.slice(0, 120))`)
	if len(missed) > 0 {
		t.Errorf("%s: the focus does not come to %s", what, fmt.Sprint(missed[:min(len(missed), 3)]))
	}
	return all
}

// tabbed moves the focus until it is where it was before.
func tabbed(t *testing.T, tab *browser.Tab, what string, press chromedp.Action[chromedp.Void]) (all []string) {
	t.Helper()
	known := make(map[string]bool)
	for range mostTabs {
		at := browser.Ask[focused](tab, focus) // a page may have put the focus somewhere
		if known[at.Name] {
			break
		}
		if at.Name != "" { // between the last and the first the focus is in no page
			known[at.Name] = true
			all = append(all, at.Name)
		}
		if at.Wrong != "" {
			t.Errorf("%s: with the focus, %s %s", what, at.Name, at.Wrong)
		}
		tab.Do(press)
	}
	return all
}
