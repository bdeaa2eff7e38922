package browser_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"herald/client"
	"herald/internal/test/browser"
)

// person goes through pages by what they see, and counts their clicks.
type person struct {
	*browser.Tab
	clicks int
}

// clicked clicks what leads to another page.
func (p *person) clicked(what, selector string) {
	p.clicks++
	p.Goes(what, click(selector))
}

// reach moves the focus to an element by Tab alone.
func reach(t *testing.T, tab *browser.Tab, selector string) {
	t.Helper()
	for range mostTabs {
		if browser.Ask[bool](tab, `document.activeElement.matches("`+selector+`")`) {
			return
		}
		tab.Press(kb.Tab)
	}
	t.Fatalf("on %s, Tab does not lead to %s", tab.Path(), selector)
}

// entered goes to an element by Tab alone, and presses Enter, which leads to another page.
func entered(t *testing.T, tab *browser.Tab, selector string) {
	t.Helper()
	reach(t, tab, selector)
	tab.Goes("Enter on "+selector, chromedp.KeyEvent(kb.Enter))
}

const arrived = `document.querySelector("main .head .badge")?.innerText.includes("Delivered") && document.querySelectorAll("main tbody .badge-good").length > 0`

// TestFirstWebhookOfHeraldDev: the link of `herald dev` leads to the checklist, whose button leads to an example, which
// arrives at the inbox. That takes two clicks.
func TestFirstWebhookOfHeraldDev(t *testing.T) {
	lines := startDev(t)
	link, err := url.Parse(lines.after("Open the portal "))
	if err != nil {
		t.Fatal(err)
	}
	p := &person{Tab: browser.NewTab(t, link.Scheme+"://"+link.Host)}
	p.Hurry()
	p.Open(link.Path+"#"+link.Fragment, http.StatusOK)
	p.Until(`document.querySelector("main .checklist") !== null`)
	p.clicked("the step that is left", ".checklist li:not(.done) a.button")
	accessible(t, p.Tab, "an example to send")
	p.clicked("send it", "main form button.primary")
	p.Until(arrived)
	if p.clicks != 2 {
		t.Errorf("it took %d clicks", p.clicks)
	}
	if kind := p.Text("h1"); !strings.Contains(lines.after("  200  "), kind) {
		t.Errorf("the inbox has no %q", kind)
	}
}

// TestFirstWebhookByKeyboard: who has nothing is led by the checklist to a rule, from the rule to an example, and sees it
// arrive, by the keyboard alone.
func TestFirstWebhookByKeyboard(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	made, err := s.operator.CreatePortalLink(t.Context(), a.ID, client.PortalLinkOptions{Role: "developer"})
	if err != nil {
		t.Fatal(err)
	}
	tab := browser.NewTab(t, s.origin)
	tab.Hurry()
	tab.Open(strings.TrimPrefix(made.URL, s.origin), http.StatusOK)
	tab.Until(`document.querySelectorAll("main .checklist li:not(.done)").length === 3`)
	accessible(t, tab, "the checklist")
	entered(t, tab, ".checklist li:not(.done) a.button")
	reach(t, tab, "#type")
	tab.Type("#type", "Sync Failed")
	reach(t, tab, "#companyId")
	tab.Type("#companyId", companies[1].String())
	entered(t, tab, "main form button.primary")
	tab.Until(`document.querySelector("main").innerText.includes("The rule has no receiver")`)
	tab.Open(a.path(""), http.StatusOK)
	entered(t, tab, ".checklist li:not(.done) a.button") // it knows which rule has no receiver
	reach(t, tab, "#webhook")
	tab.Type("#webhook", receiver(t, answers(http.StatusOK, `{"received":true}`))+"/hook")
	entered(t, tab, "main form button.primary")
	entered(t, tab, `main a[href*='/catalogue/']`)
	if company := browser.Ask[string](tab, `document.getElementById("company").value`); company != companies[1].String() {
		t.Errorf("the example is of company %s", company)
	}
	entered(t, tab, "main form button.primary")
	tab.Until(arrived)
	accessible(t, tab, "an event whose webhook has arrived")
}

// output is what a program writes, line by line.
type output struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

func (o *output) read(from io.Reader) {
	for scanner := bufio.NewScanner(from); scanner.Scan(); {
		o.mu.Lock()
		o.lines = append(o.lines, scanner.Text())
		o.mu.Unlock()
	}
}

// after waits for a line with a text, and returns what follows it.
func (o *output) after(text string) string {
	o.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for {
		o.mu.Lock()
		for _, line := range o.lines {
			if _, rest, found := strings.Cut(line, text); found {
				o.mu.Unlock()
				return strings.TrimSpace(rest)
			}
		}
		all := strings.Join(o.lines, "\n")
		o.mu.Unlock()
		select {
		case <-ticker.C:
		case <-deadline:
			o.t.Fatalf("no line with %q within a minute:\n%s", text, all)
		}
	}
}

// startDev builds and starts `herald dev` in an empty directory, with nothing set.
func startDev(t *testing.T) *output {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "herald")
	if out, err := exec.Command("go", "build", "-o", program, "herald/cmd/herald").CombinedOutput(); err != nil {
		t.Fatalf("build herald: %v: %s", err, out)
	}
	dev := exec.Command(program, "dev", "--listen", "127.0.0.1:0", "--inbox", "127.0.0.1:0")
	dev.Dir, dev.Stderr = dir, os.Stderr
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, "HERALD_") {
			dev.Env = append(dev.Env, one)
		}
	}
	out, err := dev.StdoutPipe()
	if err == nil {
		err = dev.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines, ended := &output{t: t}, make(chan struct{})
	go func() {
		defer close(ended)
		lines.read(out)
	}()
	t.Cleanup(func() {
		_ = dev.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := dev.Wait(); err != nil {
			t.Errorf("herald dev: %v", err)
		}
	})
	return lines
}
