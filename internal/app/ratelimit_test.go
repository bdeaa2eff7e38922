package app_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/app"
)

// TestClientOverItsRateLimitGets429 on both APIs, and nothing that it sent is accepted.
func TestClientOverItsRateLimitGets429(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.RateLimit, c.RateWindow = 4, time.Hour })
	key, begun := f.account.APIKey, time.Now()
	made, err := f.CreateKey(t.Context(), "second", "") // this call counts too, and the new key shares the client's window
	if err != nil {
		t.Fatal(err)
	}
	for i, call := range [][3]string{{"GET", "/rules", key}, {"POST", "/events", made.APIKey}, {"GET", "/deliveries?colour=red", key}} {
		status, header, _ := f.call(call[0], call[1], call[2], "{")
		if got := header.Get("X-Rate-Limit-Remaining"); got != strconv.Itoa(2-i) || header.Get("X-Rate-Limit-Limit") != "4" || status == 429 {
			t.Errorf("%v: status %d, %s left of %s; want %d of 4", call, status, got, header.Get("X-Rate-Limit-Limit"), 2-i)
		}
	}
	for _, call := range [][2]string{{"GET", "/rules"}, {"POST", "/events"}} {
		status, header, body := f.call(call[0], call[1], key, eventText+`,"idempotencyKey":"k"}`)
		wantError(t, call[1], status, header, body, 429)
		reset, err := time.Parse(time.RFC3339, header.Get("X-Rate-Limit-Reset"))
		if err != nil || !strings.HasSuffix(header.Get("X-Rate-Limit-Reset"), "Z") || reset.Before(begun.Add(time.Hour-time.Second)) || reset.After(time.Now().Add(time.Hour)) {
			t.Errorf("%s: reset %q, %v", call[1], header.Get("X-Rate-Limit-Reset"), err)
		}
		if wait, err := strconv.Atoi(header.Get("Retry-After")); err != nil || wait < 1 || wait > 3600 || header.Get("X-Rate-Limit-Remaining") != "0" {
			t.Errorf("%s: Retry-After %q, %s left", call[1], header.Get("Retry-After"), header.Get("X-Rate-Limit-Remaining"))
		}
	}
	// The operator has no limit, for that client too, and another client has its own.
	status, header, body := f.call("POST", "/events", operatorKey, eventText+`,"idempotencyKey":"k","clientId":"`+f.account.ID.String()+`"}`)
	if status != 202 || header.Get("X-Rate-Limit-Limit") != "" || !strings.Contains(body, `"alertCount":0`) {
		t.Errorf("the operator: %d %v %s", status, header, body)
	}
	other, err := f.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	events, err := f.as(other.APIKey).Events(t.Context(), client.EventFilter{})
	if err != nil || len(events.Results) != 0 {
		t.Errorf("another client: %v", err)
	}
}

func TestWithoutARateLimitThereAreNoHeaders(t *testing.T) {
	f := newFixture(t)
	status, header, _ := f.call("GET", "/rules", f.account.APIKey, "")
	for name := range header {
		if status != 200 || strings.HasPrefix(name, "X-Rate-Limit") {
			t.Errorf("status %d, header %s", status, name)
		}
	}
}

// TestOwnLimitRaisesItsEvents: a client with rules for them is told once in a window that it has reached its
// limit, and once that it may call again. A client without rules has no such events.
func TestOwnLimitRaisesItsEvents(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp, func(c *app.Config) { c.RateLimit, c.RateWindow = 3, 2*time.Second })
		hook := newReceiver(t, nil)
		for _, kind := range []string{"Rate Limit Reached", "ClientRateLimitReset"} {
			body := `{"type":"` + kind + `","notifiers":{"webhook":"` + hook.URL + `"}}`
			if status, _, answer := f.call("POST", "/rules", f.account.APIKey, body); status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
		}
		other, err := f.operator.CreateClient(t.Context(), "Other")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for _, key := range []string{f.account.APIKey, other.APIKey} {
			eventually(t, "the limit is reached", func() bool {
				status, _, _ := f.call("GET", "/rules", key, "")
				return status == 429
			})
			for range 10 {
				f.call("GET", "/rules", key, "")
			}
		}
		kinds := func() (reached, reset int) {
			for _, r := range hook.got() {
				switch body := string(r.body); {
				case strings.Contains(body, `"RuleType":"Rate Limit Reached"`) && strings.Contains(body, `"Data":{"DailyQuota":3,"ExpiresUtc":"`) &&
					strings.Contains(body, `"Message":"The current daily rate limit quota of 3 requests for `+f.account.ID.String()+` has been reached."`):
					reached++
				case strings.Contains(body, `"RuleType":"Rate Limit Reset"`) && strings.Contains(body, `"Data":{"QuotaRemaining":3,"ResetReason":"`):
					reset++
				default:
					t.Errorf("an unexpected webhook: %s", body)
				}
			}
			return reached, reset
		}
		eventually(t, "every window that was reached is reset", func() bool {
			reached, reset := kinds()
			return reached > 0 && reached == reset
		})
		windows := int(time.Since(begun)/f.config.RateWindow) + 1
		if reached, _ := kinds(); reached > windows {
			t.Errorf("told %d times in at most %d windows", reached, windows)
		}
		eventually(t, "another window of the other client", func() bool {
			status, _, body := f.call("GET", "/events", other.APIKey, "")
			if status == 200 && body != `{"results":[]}` {
				t.Errorf("the client without rules has the events %s", body)
			}
			return status == 200
		})
	})
}

// TestExamplesOfThePortalCountAsPublishes: from the catalogue and tests of a rule, by a key's session and by a link's.
func TestExamplesOfThePortalCountAsPublishes(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.RateLimit, c.RateWindow = 4, time.Hour })
	hook := newReceiver(t, nil)
	rule := f.rule(hook.URL, uuid.Nil) // the first request
	link, err := f.operator.CreatePortalLink(t.Context(), f.account.ID, client.PortalLinkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link.URL, "#")
	byKey, byLink, operator := newBrowser(t), newBrowser(t), newBrowser(t)
	byKey.do(f, "/portal/sign-in", url.Values{"key": {f.account.APIKey}})
	byLink.do(f, "/portal/link", url.Values{"secret": {secret}})
	operator.do(f, "/portal/sign-in", url.Values{"key": {operatorKey}})
	example := url.Values{"company": {company.String()}, "data": {`{"syncId":"my own text","syncType":"Expense","FailureStage":"Pushing"}`}}
	send, test := f.pagesOf()+"/catalogue/Sync%20Failed", f.pagesOf()+"/rules/"+rule.ID.String()+"/test"
	for _, one := range []struct {
		by   *browser
		path string
		form url.Values
	}{{byKey, send, example}, {byLink, send, example}, {byKey, test, url.Values{}}} {
		if status, to, text := one.by.do(f, one.path, one.form); status != 303 || !strings.Contains(to, "/events/") {
			t.Fatalf("%s answers %d: %.2000s", one.path, status, text)
		}
	}
	const words = "Rate limit reached: 4 requests in 1h0m0s. Try again in "
	if _, _, body := f.call("POST", "/events", f.account.APIKey, eventText+"}"); !strings.Contains(body, words) {
		t.Errorf("POST /events says %s", body)
	}
	for _, by := range []*browser{byKey, byLink} {
		if status, _, text := by.do(f, send, example); status != 429 || !strings.Contains(text, words) || !strings.Contains(text, "my own text") {
			t.Errorf("an example over the limit: %d %s", status, text)
		}
		if status, _, text := by.do(f, test, url.Values{}); status != 429 || !strings.Contains(text, words) {
			t.Errorf("a test over the limit: %d %s", status, text)
		}
	}
	for range 3 {
		if status, _, text := operator.do(f, send, example); status != 303 {
			t.Errorf("the operator: %d %s", status, text)
		}
	}
	if status, _, body := f.call("GET", "/events?client="+f.account.ID.String(), operatorKey, ""); status != 200 || strings.Count(body, `"type"`) != 6 {
		t.Errorf("want the events that were answered: %d %s", status, body)
	}
}
