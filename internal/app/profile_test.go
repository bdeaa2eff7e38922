package app_test

import (
	"io"
	"net/http"
	"testing"

	"herald/internal/app"
)

func TestProfilesAreServedOnTheLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:6060", ":6060", "192.0.2.1:6060", "localhost:6060", "127.0.0.1", "[::]:1"} {
		if app.CheckProfileListen(address) == nil {
			t.Errorf("%s is taken", address)
		}
	}
	for _, address := range []string{"127.0.0.1:6060", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		if err := app.CheckProfileListen(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}

	f := newFixture(t, func(c *app.Config) { c.ProfileListen = "127.0.0.1:0" })
	for _, c := range []struct {
		base, host, path string
		status           int
	}{
		{f.app.ProfileAddress(), "", "/debug/pprof/heap", 200},
		{f.app.ProfileAddress(), "attacker.example", "/debug/pprof/heap", 403},
		{f.app.ProfileAddress(), "", "/rules", 404},
		{f.app.Address(), "", "/debug/pprof/heap", 404},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = c.host
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s%s for host %q answers %d, want %d", c.base, c.path, c.host, answer.StatusCode, c.status)
		}
	}
}
