package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"herald/internal/cli"
)

// TestHealthcheckAsksTheServiceOfThisMachine tries the ways to say where the service listens.
func TestHealthcheckAsksTheServiceOfThisMachine(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	ready := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Method != http.MethodGet || r.URL.Path != "/readyz" && r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, r.URL.Path[1:]+" is ok\n") // fails only when the caller has gone
	})
	plain, secure := httptest.NewServer(ready), httptest.NewTLSServer(ready) // the certificate is for example.com
	defer plain.Close()
	defer secure.Close()
	port := func(s *httptest.Server) string { return s.URL[strings.LastIndex(s.URL, ":"):] }
	for _, test := range []struct {
		env  map[string]string
		args []string
		says string
	}{
		{nil, []string{"--listen", "127.0.0.1" + port(plain)}, "readyz is ok\n"},
		{map[string]string{"HERALD_LISTEN": "127.0.0.1" + port(plain)}, nil, "readyz is ok\n"},
		{map[string]string{"HERALD_LISTEN": port(plain)}, nil, "readyz is ok\n"},
		{map[string]string{"HERALD_LISTEN": "0.0.0.0" + port(plain)}, []string{"--live"}, "healthz is ok\n"},
		{map[string]string{"HERALD_LISTEN": "localhost" + port(secure), "HERALD_TLS_CERT": "tls.crt"}, nil, "readyz is ok\n"},
		{map[string]string{"HERALD_LISTEN": "127.0.0.1:1"}, []string{"--listen", "127.0.0.1" + port(secure), "--tls-cert", "tls.crt"}, "readyz is ok\n"},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			if code, stdout, stderr := command(t, append([]string{"healthcheck"}, test.args...)...); code != cli.OK || stdout != test.says || stderr != "" {
				t.Errorf("%v %v: exit code %d, %q, %q", test.env, test.args, code, stdout, stderr)
			}
		})
	}
}

// TestHealthcheckFailsWithOne: Docker takes no other code for a failure.
func TestHealthcheckFailsWithOne(t *testing.T) {
	serve := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	release := make(chan struct{})
	defer close(release)
	unready := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":"the disk is \u001b[31mfull"}`+strings.Repeat("x", maxHealthAnswer)) // as above
	})
	elsewhere := serve(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.com/", http.StatusFound)
	})
	hanging := serve(func(http.ResponseWriter, *http.Request) { <-release })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"--listen", unready}, "503"},
		{[]string{"--listen", unready, "--tls-cert", "tls.crt"}, "HTTP"},
		{[]string{"--listen", elsewhere}, "302"},
		{[]string{"--listen", hanging, "--timeout", "50ms"}, "no answer within 50ms"},
		{[]string{"--listen", nobody}, "refused"},
		{[]string{"--listen", "127.0.0.1:0"}, "port 0"},
		{[]string{"--timeout", "0s"}, "--timeout 0s"},
		{[]string{"--listen", "nonsense"}, "nonsense"},
		{[]string{"--nonsense"}, "nonsense"},
	} {
		code, stdout, stderr := command(t, append([]string{"healthcheck"}, test.args...)...)
		if code != cli.General || stdout != "" || !strings.Contains(stderr, test.says) || len(stderr) > 2*maxHealthAnswer {
			t.Errorf("%v: exit code %d, %q, %.300q; want 1 and %s", test.args, code, stdout, stderr, test.says)
		}
	}
	t.Setenv("HERALD_LISTN", ":80")
	if code, _, stderr := command(t, "healthcheck"); code != cli.General || !strings.Contains(stderr, "HERALD_LISTEN") {
		t.Errorf("a misspelt variable: exit code %d, %q", code, stderr)
	}
}
