package browser_test

import (
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/test/browser"
)

// header sets the client's Authorization header.
func (a *account) header(value string) {
	a.s.t.Helper()
	profile, err := a.api.Profile(a.s.t.Context())
	if err != nil {
		a.s.t.Fatal(err)
	}
	profile.AlertAuthHeader = value
	if _, err := a.api.SaveProfile(a.s.t.Context(), profile); err != nil {
		a.s.t.Fatal(err)
	}
}

// publish publishes events of companies, and waits until their deliveries have ended.
func (a *account) publish(of ...uuid.UUID) {
	a.s.t.Helper()
	for _, company := range of {
		if _, err := a.api.Publish(a.s.t.Context(), syncFailed(company)); err != nil {
			a.s.t.Fatal(err)
		}
	}
	a.attempted(1)
}

// why is what the page of a delivery says, whatever the times are.
var why = regexp.MustCompile(`Your server answered 401 in (less than 1|\d+) ms\. 401 is not retried\. The Authorization header was sent \(Bearer …\)\.\s+` +
	`The last success was at [^.;]+\d\d:\d\d:\d\d[^.;]*(\.\d+[^.;]*)?; the header was changed at [^.;]+\d\d:\d\d:\d\d`)

// TestWhyDidItFailInThreeClicks: the header was changed, and the receiver refuses it. The overview leads to the sentence
// that says so, with when it worked last, in three clicks at most.
func TestWhyDidItFailInThreeClicks(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.rule("Sync Failed", receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer 5f0c1a1d8e9b4c" {
			answers(http.StatusUnauthorized, `{"error":"unauthorized"}`)(w, r)
		}
	}), uuid.Nil)
	a.header("Bearer 5f0c1a1d8e9b4c")
	a.publish(companies[0])
	a.header("Bearer 9e8d7c6b5a4f")
	a.publish(companies[1])
	p := &person{Tab: s.signedIn(t, a.APIKey)}
	p.Until(`document.querySelector("main .banner").innerText.includes("last answer was 401")`)
	p.clicked("the last example", ".issues a[href*='/deliveries/']")
	if text := p.Text("main .banner"); !why.MatchString(text) {
		t.Errorf("the page says: %s", text)
	}
	if p.clicks > 3 {
		t.Errorf("it took %d clicks", p.clicks)
	}
	accessible(t, p.Tab, "why it failed")
}

// TestRecoverAnOutage: a receiver that was ill is well again, but for one company. The overview proposes what to send
// again, and the page behind it says what has arrived and what failed again, while it happens.
func TestRecoverAnOutage(t *testing.T) {
	var ill atomic.Bool
	hold := make(chan struct{})
	s := startService(t)
	a := s.account("Acme")
	ill.Store(true)
	to := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 4096)
		n, _ := r.Body.Read(body)
		of := string(body[:n])
		switch {
		case ill.Load(), contains(of, companies[2]):
			answers(http.StatusInternalServerError, `{"error":"no database"}`)(w, r)
		case contains(of, companies[1]):
			<-hold
		}
	})
	a.rule("Sync Failed", to+"/hook", uuid.Nil)
	a.publish(companies[0], companies[1], companies[2], companies[0])
	p := &person{Tab: s.signedIn(t, a.APIKey)}
	p.Hurry()
	p.Until(`document.querySelector("main .banner").innerText.includes("4 deliveries failed")`)
	ill.Store(false)
	a.publish(companies[0])
	p.Open(a.path(""), http.StatusOK)
	p.Until(`document.getElementById("ended").closest("section").innerText.includes("4 deliveries failed for good")`)
	p.Until(`document.getElementById("day").closest("section").innerText.includes("1 delivered")`) // then the page stays as it is
	p.clicked("propose", ".issues a[href$='/recover']")
	if text := p.Text("main"); !regexp.MustCompile(`4 deliveries failed for good and did not arrive since\.\s+The receiver answers again\.`).MatchString(text) {
		t.Errorf("the proposal: %s", text)
	}
	accessible(t, p.Tab, "the proposal")
	p.clicked("recover these 4", "main form button.primary")
	p.Until(`document.querySelector("main .banner").innerText.includes("4 deliveries were made again. Of these, 1 delivery failed again. 1 delivery has not arrived yet.")`)
	accessible(t, p.Tab, "what was recovered, while one waits")
	close(hold)
	p.Until(`document.querySelector("main .banner").innerText.trim() === "4 deliveries were made again. Of these, 1 delivery failed again."`)
	accessible(t, p.Tab, "what was recovered")
	p.clicked("what failed", "main a[href*='state=failed']")
	if rows := browser.Ask[int](p.Tab, `document.querySelectorAll("#results tbody tr").length`); rows != 1 {
		t.Errorf("%d deliveries have failed again", rows)
	}
	for _, d := range a.attempted(1) {
		if d.State == herald.Failed && d.CompanyID != companies[2] && d.RepeatedBy == uuid.Nil {
			t.Errorf("%+v was not recovered", d)
		}
	}
	if p.clicks != 3 {
		t.Errorf("it took %d clicks", p.clicks)
	}
}

func contains(body string, company uuid.UUID) bool {
	return strings.Contains(body, company.String())
}
