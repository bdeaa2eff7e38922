// Package browser tests the portal in a real browser: Debian's Chromium, headless, with the whole program
// behind it. The package has the browser, which tests share; each test has its own cookies.
//
// A tab reports, as errors of its test, whatever a page must never do: an error in the console, what the
// Content-Security-Policy refused, a request to anything but the service, a dialog of a script.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what a page should do.
const patience = 30 * time.Second

var shared struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

// Stop ends the browser, if a test has started it.
func Stop() {
	if shared.stop != nil {
		shared.stop()
	}
}

// start starts the browser that all tests of the process share.
func start() (context.Context, error) {
	shared.once.Do(func() {
		path, err := exec.LookPath("chromium")
		if err != nil {
			shared.err = fmt.Errorf("there is no chromium here: install it, on Debian with apt-get install chromium: %w", err)
			return
		}
		options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.DisableGPU,
			chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
		if os.Geteuid() == 0 {
			options = append(options, chromedp.NoSandbox) // Chromium has none as root
		}
		allocator, stopAll := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, stopFirst := chromedp.NewContext(allocator)
		shared.ctx, shared.stop = ctx, func() { stopFirst(); stopAll() }
		shared.err = chromedp.Do(ctx)
	})
	return shared.ctx, shared.err
}

// Tab is a tab with cookies of its own.
type Tab struct {
	t      testing.TB
	ctx    context.Context
	origin string

	mu sync.Mutex
	// refused are the addresses that may answer with a status from 400 on. Chromium notes that in the console.
	refused map[string]bool
}

// NewTab opens a tab on the service at an origin such as http://127.0.0.1:8080. Without a browser the test is
// skipped; with CI in the environment it fails.
func NewTab(t testing.TB, origin string) *Tab {
	t.Helper()
	browser, err := start()
	if err != nil && os.Getenv("CI") == "" && shared.ctx == nil {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(done)
	tab := &Tab{t: t, ctx: ctx, origin: origin, refused: make(map[string]bool)}
	if err := chromedp.Listen(ctx, tab.watch); err != nil {
		t.Fatal(err)
	}
	tab.Look(1440, "light")
	return tab
}

// watch reports what no page may do.
func (tab *Tab) watch(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !(strings.HasPrefix(e.Entry.Text, "Failed to load resource: the server responded with a status of 4") && tab.mayRefuse(e.Entry.URL)) {
			tab.t.Errorf("%s: the console has: %.500s", e.Entry.URL, e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			text, _ := json.Marshal(e.Args)
			tab.t.Errorf("the console has: %s: %.500s", e.Type, text)
		}
	case *runtime.EventExceptionThrown:
		tab.t.Errorf("a script failed: %s %.500s", e.ExceptionDetails.URL, (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, tab.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") && e.Request.URL != "about:blank" {
			tab.t.Errorf("a page asks %.300s for something", e.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		tab.t.Errorf("%s: a script opened a dialog: %.100s", e.URL, e.Message)
	}
}

func (tab *Tab) mayRefuse(address string) bool {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return tab.refused[address]
}

// Refused says that an address may answer with a status from 400 on.
func (tab *Tab) Refused(path string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.refused[tab.origin+path] = true
}

func run[T any](tab *Tab, what string, action chromedp.Action[T]) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
	return result
}

func command[P, R any](tab *Tab, c cdp.Command[P, R], params P) R {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, c, params)
	if err != nil {
		tab.t.Fatalf("%s: %v", c.Method, err)
	}
	return result
}

// Look sets the width in px, and the colours: light or dark. A narrow screen is touched.
func (tab *Tab) Look(width int, scheme string) {
	tab.t.Helper()
	command(tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: int64(width), Height: 800, DeviceScaleFactor: 1})
	command(tab, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: width < 640})
	command(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// Zone sets the time zone of the next pages, such as Asia/Kolkata.
func (tab *Tab) Zone(name string) {
	tab.t.Helper()
	command(tab, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
}

// Print shows pages as they are printed, in light colours, until the next Look.
func (tab *Tab) Print() {
	tab.t.Helper()
	command(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}}})
}

// Force makes what a selector finds look as if it had some pseudo-classes, such as hover; without any, as it is. It
// returns how many elements it found.
func (tab *Tab) Force(selector string, classes ...string) int {
	tab.t.Helper()
	command(tab, dom.Enable, dom.EnableParams{})
	command(tab, css.Enable, cdp.Empty{})
	root := command(tab, dom.GetDocument, dom.GetDocumentParams{})
	found := command(tab, dom.QuerySelectorAll, dom.QuerySelectorAllParams{NodeID: root.Root.NodeID, Selector: selector}).NodeIDs
	for _, node := range found {
		command(tab, css.ForcePseudoState, css.ForcePseudoStateParams{NodeID: node, ForcedPseudoClasses: append([]string{}, classes...)})
	}
	return len(found)
}

// Scripts switches scripts on or off, from the next page on.
func (tab *Tab) Scripts(on bool) {
	tab.t.Helper()
	command(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// Open opens a page, which must answer with a status.
func (tab *Tab) Open(path string, status int) {
	tab.t.Helper()
	if status >= 400 {
		tab.Refused(path)
	}
	if response := run(tab, "open "+path, chromedp.NavigateResponse(tab.origin+path)); response == nil || response.Status != int64(status) {
		tab.t.Fatalf("%s answers %+v, want status %d", path, response, status)
	}
}

// Goes does something that leads to another page, and waits until that has loaded.
func (tab *Tab) Goes(what string, action chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, action); err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

// Click clicks the first element that a selector finds.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	run(tab, "click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Type types into the first element that a selector finds.
func (tab *Tab) Type(selector, text string) {
	tab.t.Helper()
	run(tab, "type into "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Press presses a key; it is the focus's to do something with it.
func (tab *Tab) Press(keys string) {
	tab.t.Helper()
	run(tab, "press a key", chromedp.KeyEvent(keys))
}

// Do does something that leads to no other page.
func (tab *Tab) Do(action chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	run(tab, "do", action)
}

// Ask returns the value of an expression in the page.
func Ask[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	return run(tab, expression[:min(len(expression), 100)], chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Until waits until an expression in the page is true.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		// Between two pages there is nothing to ask.
		if is, err := chromedp.Run(tab.ctx, chromedp.Evaluate[bool](expression)); err == nil && is {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			tab.t.Fatalf("%s: did not become true within %v; the page at %s has: %.500s", expression, patience, tab.Path(), tab.Text("main"))
		}
	}
}

// Hurry makes the scripts of the next pages wait a hundredth of the time that they want to wait, from a second on.
func (tab *Tab) Hurry() {
	tab.t.Helper()
	tab.Before(`{ const wait = setTimeout; window.setTimeout = (f, ms, ...more) => wait(f, ms >= 1000 ? ms / 100 : ms, ...more); }`)
}

// Before runs a script at the start of the next pages, before their own.
func (tab *Tab) Before(script string) {
	tab.t.Helper()
	command(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// Path returns the path and the query of the page.
func (tab *Tab) Path() string {
	tab.t.Helper()
	at, err := url.Parse(run(tab, "ask for the address", chromedp.Location()))
	if err != nil {
		tab.t.Fatal(err)
	}
	return at.RequestURI()
}

// Text returns the text that an element shows.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	return Ask[string](tab, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// Picture returns what the screen shows, as PNG.
func (tab *Tab) Picture() []byte {
	tab.t.Helper()
	return run(tab, "take a picture", chromedp.CaptureScreenshot())
}

// Choose chooses the option with a value in a select.
func (tab *Tab) Choose(selector, value string) {
	tab.t.Helper()
	ok := Ask[bool](tab, fmt.Sprintf(`(() => {
		const list = document.querySelector(%q);
		list.focus();
		list.value = %q;
		list.dispatchEvent(new Event("input", {bubbles: true}));
		list.dispatchEvent(new Event("change", {bubbles: true}));
		return list.value === %q;
	})()`, selector, value, value))
	if !ok {
		tab.t.Fatalf("%s has no %q", selector, value)
	}
}

// Back presses the back button, and waits until an expression is true on the page before.
func (tab *Tab) Back(expression string) {
	tab.t.Helper()
	entries := run(tab, "ask for the history", chromedp.NavigationEntries())
	if entries.CurrentIndex == 0 {
		tab.t.Fatal("there is no page before")
	}
	command(tab, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entries.Entries[entries.CurrentIndex-1].ID})
	tab.Until(`document.readyState === "complete" && ` + expression)
}

// History returns the addresses that the back button leads to, and the present one.
func (tab *Tab) History() (addresses []string) {
	tab.t.Helper()
	for _, entry := range run(tab, "ask for the history", chromedp.NavigationEntries()).Entries {
		addresses = append(addresses, entry.URL)
	}
	return addresses
}
