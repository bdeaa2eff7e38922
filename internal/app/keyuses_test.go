package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"herald/client"
	"herald/internal/app"
)

// TestLastUseOfAKeyIsKept: by calls of both APIs and by a session of the portal, over a stop.
func TestLastUseOfAKeyIsKept(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		listed := func() map[string]client.Key {
			t.Helper()
			keys, err := f.operator.ClientKeys(t.Context(), f.account.ID)
			if err != nil {
				t.Fatal(err)
			}
			named := make(map[string]client.Key)
			for _, k := range keys {
				named[k.Name] = k
			}
			return named
		}
		plain := make(map[string]string)
		for _, name := range []string{"publishes", "looks", "signs in", "sleeps"} {
			made, err := f.operator.CreateClientKey(t.Context(), f.account.ID, name, "")
			if err != nil || !made.LastUsedDate.IsZero() {
				t.Fatalf("%+v %v", made, err)
			}
			plain[name] = made.APIKey
		}
		begun := time.Now().Add(-time.Minute)
		if _, err := f.as(plain["publishes"]).Publish(t.Context(), event()); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := f.call("GET", "/rules", plain["looks"], ""); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		b := newBrowser(t)
		if status, _, _ := b.do(f, "/portal/sign-in", url.Values{"key": {plain["signs in"]}}); status != http.StatusSeeOther {
			t.Fatalf("the sign-in answers %d", status)
		}
		if status, _, text := b.do(f, f.pagesOf()+"/settings/keys", nil); status != http.StatusOK || !strings.Contains(text, "no use known") || !strings.Contains(text, "Last used") {
			t.Errorf("the page of keys: %d %s", status, text)
		}
		before := listed()
		f.stop()
		f.start()
		for name, k := range listed() {
			used := name != "sleeps" && name != ""
			switch at := k.LastUsedDate; {
			case !used && !at.IsZero() && name == "sleeps", used && (at.Before(begun.Truncate(time.Minute)) || at.After(time.Now())):
				t.Errorf("%q was last used at %v", name, at)
			case !at.Equal(before[name].LastUsedDate):
				t.Errorf("%q: %v after the restart, %v before", name, at, before[name].LastUsedDate)
			}
		}
		if status, _, body := f.call("GET", "/apiKeys", plain["looks"], ""); status != http.StatusOK || strings.Count(body, "lastUsedDate") < 3 {
			t.Errorf("%d %s", status, body)
		}
	})
}
