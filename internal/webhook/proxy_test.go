package webhook_test

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
	"herald/internal/webhook"
)

// egressProxy is the operator's proxy. connect and other say what it answers by itself; 0 makes it do its
// work.
type egressProxy struct {
	connect, other int
	header         http.Header // of its own answers
	noVia          bool        // what it forwards gets no Via
	mu             sync.Mutex
	asked          []string
}

func (p *egressProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	status := p.other
	if r.Method == http.MethodConnect {
		status = p.connect
	}
	if status != 0 {
		for name, values := range p.header {
			w.Header()[name] = values
		}
		http.Error(w, "says the proxy", status)
		return
	}
	if r.Method == http.MethodConnect {
		tunnel(w, r.Host)
		return
	}
	r.RequestURI = ""
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	if !p.noVia {
		w.Header().Set("Via", "1.1 proxy")
	}
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

func tunnel(w http.ResponseWriter, host string) {
	there, err := net.Dial("tcp", host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = io.Copy(there, here); there.Close() })
	copying.Go(func() { _, _ = io.Copy(here, there); here.Close() })
	copying.Wait()
}

// receivers are one with http and one with https, which answer with a status.
func receivers(t *testing.T, status int) (urls []string, roots *x509.CertPool) {
	t.Helper()
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
	})
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	roots = x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	return []string{plain.URL, secure.URL}, roots
}

func through(t *testing.T, proxy *httptest.Server, roots *x509.CertPool) *webhook.Sender {
	t.Helper()
	address, err := egress.ParseProxy(strings.Replace(proxy.URL, "://", "://user:password@", 1))
	if err != nil {
		t.Fatal(err)
	}
	return newSender(t, func(o *webhook.Options) {
		o.Guard = egress.New(egress.Options{Allow: loopback, Proxy: address, ProxyRootCAs: roots})
		o.RootCAs, o.Timeout = roots, 10*time.Second
	})
}

func deliver(t *testing.T, s *webhook.Sender, url string) webhook.Result {
	t.Helper()
	return s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`), ClientID: clientID, Authorization: "Basic c2VjcmV0"})
}

// TestWhatTheProxyRefusesIsNotTheReceivers: the proxy's answers have a reason of their own. Where it got no
// request, the receiver got nothing.
func TestWhatTheProxyRefusesIsNotTheReceivers(t *testing.T) {
	urls, roots := receivers(t, 200)
	for _, status := range []int{400, 401, 403, 404, 405, 407, 429, 500, 501, 502, 503, 504} {
		server := httptest.NewServer(&egressProxy{connect: status, other: status})
		s := through(t, server, roots)
		for _, url := range urls {
			got := deliver(t, s, url)
			whole := strings.HasPrefix(url, "http:") && slices.Contains([]int{400, 401, 403, 404, 405, 501}, status) // the request went to the proxy
			if got.Reason != herald.ReasonProxy || got.Status != 0 || !strings.Contains(got.Error, http.StatusText(status)) || !strings.Contains(got.Error, "egress proxy") || got.Request.Unsent == whole {
				t.Errorf("%d, %s: reason %q, status %d, error %q, unsent %v", status, url, got.Reason, got.Status, got.Error, got.Request.Unsent)
			}
		}
		s.Close()
		server.Close()
	}
	silent := &httptest.Server{URL: strings.TrimSuffix(raw(t, readRequest), "/")}
	for _, url := range urls {
		if got := deliver(t, through(t, silent, roots), url); got.Reason != herald.ReasonProxy || !strings.Contains(got.Error, "did not answer in HTTP") {
			t.Errorf("a proxy that closes: reason %q, error %q", got.Reason, got.Error)
		}
	}
}

// TestWhatTheReceiverRefusesIsItsOwn: through the proxy too, also with a status that proxies use.
func TestWhatTheReceiverRefusesIsItsOwn(t *testing.T) {
	for _, status := range []int{200, 403, 407, 413, 502} {
		urls, roots := receivers(t, status)
		proxy := &egressProxy{}
		server := httptest.NewServer(proxy)
		s := through(t, server, roots)
		for _, url := range urls {
			if got := deliver(t, s, url); got.Status != status || got.Reason != map[bool]herald.Reason{true: herald.ReasonNone, false: herald.ReasonStatus}[status == 200] {
				t.Errorf("%d, %s: reason %q, status %d, error %q", status, url, got.Reason, got.Status, got.Error)
			}
		}
		s.Close()
		server.CloseClientConnections()
		server.Close()
		for _, asked := range proxy.asked {
			if !strings.HasPrefix(asked, "CONNECT 127.0.0.1:") || !strings.HasSuffix(asked, " Basic dXNlcjpwYXNzd29yZA==") {
				t.Errorf("the proxy was asked %q", asked)
			}
		}
	}
}

// TestProxyWithoutTunnelsForHTTP: a request over http is handed to it whole. Its own answers are told from
// the receiver's, and what cannot be told apart ends no delivery.
func TestProxyWithoutTunnelsForHTTP(t *testing.T) {
	via := http.Header{"Via": {"1.1 proxy"}}
	squid := http.Header{"X-Squid-Error": {"ERR_ACCESS_DENIED 0"}, "Via": {"1.1 proxy"}}
	for _, test := range []struct {
		name             string
		proxy            *egressProxy
		receives, status int
		reason           herald.Reason
		unsent           bool
	}{
		{"delivered", &egressProxy{connect: 403}, 200, 200, herald.ReasonNone, false},
		{"delivered without Via", &egressProxy{connect: 403, noVia: true}, 204, 204, herald.ReasonNone, false},
		{"the receiver refuses", &egressProxy{connect: 403}, 403, 403, herald.ReasonStatus, false},
		{"the receiver fails", &egressProxy{connect: 405}, 500, 500, herald.ReasonStatus, false},
		{"the receiver refuses through Squid", &egressProxy{connect: 403, header: squid}, 403, 403, herald.ReasonStatus, false},
		{"the proxy refuses all", &egressProxy{connect: 403, other: 403}, 200, 0, herald.ReasonProxy, false},
		{"the proxy refuses with another status", &egressProxy{connect: 405, other: 403}, 200, 0, herald.ReasonProxy, false},
		{"the proxy fails", &egressProxy{connect: 405, other: 500}, 200, 0, herald.ReasonProxy, false},
		{"the proxy finds nothing", &egressProxy{connect: 501, other: 404}, 200, 0, herald.ReasonProxy, false},
		{"the proxy has another form of request", &egressProxy{connect: 405, other: 400}, 200, 0, herald.ReasonProxy, false},
		{"the proxy cannot connect", &egressProxy{connect: 405, other: 502}, 200, 0, herald.ReasonProxy, false},
		{"a page that blocks", &egressProxy{connect: 403, other: 302, header: http.Header{"Location": {"http://block.example/"}}}, 200, 0, herald.ReasonProxy, false},
		{"the proxy's answers have a Via", &egressProxy{connect: 403, other: 403, header: via}, 200, 0, herald.ReasonProxy, false},
		{"another one with a Via", &egressProxy{connect: 405, other: 404, header: via}, 200, 0, herald.ReasonProxy, false},
		{"the receiver's answer without Via", &egressProxy{connect: 403, noVia: true}, 403, 0, herald.ReasonProxy, false},
		{"the proxy wants credentials", &egressProxy{connect: 405, other: 407}, 200, 0, herald.ReasonProxy, true},
		{"Squid's error", &egressProxy{connect: 403, other: 503, header: squid}, 200, 0, herald.ReasonProxy, true},
		{"Squid's page", &egressProxy{connect: 403, other: 200, header: squid}, 200, 0, herald.ReasonProxy, true},
		{"Proxy-Status", &egressProxy{connect: 405, other: 502, header: http.Header{"Proxy-Status": {"edge; received-status=0, proxy; error=connection_refused"}}}, 200, 0, herald.ReasonProxy, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			urls, roots := receivers(t, test.receives)
			server := httptest.NewServer(test.proxy)
			defer server.Close()
			got := deliver(t, through(t, server, roots), urls[0])
			if got.Reason != test.reason || got.Status != test.status || got.Request.Unsent != test.unsent {
				t.Errorf("reason %q, status %d, error %q, unsent %v", got.Reason, got.Status, got.Error, got.Request.Unsent)
			}
			if said := strings.Contains(got.Error, "the receiver was not called"); said != test.unsent {
				t.Errorf("error %q", got.Error)
			}
		})
	}
}

// TestProxyWithTLS: the connection to the proxy is encrypted, and verified.
func TestProxyWithTLS(t *testing.T) {
	urls, roots := receivers(t, 200)
	server := httptest.NewTLSServer(&egressProxy{})
	defer server.Close()
	if got := deliver(t, through(t, server, x509.NewCertPool()), urls[1]); got.Reason != herald.ReasonLocal {
		t.Errorf("a proxy that is not trusted: reason %q, error %q", got.Reason, got.Error)
	}
	roots.AddCert(server.Certificate())
	s := through(t, server, roots)
	for _, url := range urls {
		if got := deliver(t, s, url); got.Status != 200 {
			t.Errorf("%s: reason %q, error %q", url, got.Reason, got.Error)
		}
	}
	s.Close()
	server.CloseClientConnections()
}

// TestForbiddenAddressesAreNotAskedOfTheProxy: in no form.
func TestForbiddenAddressesAreNotAskedOfTheProxy(t *testing.T) {
	proxy := &egressProxy{connect: 403, other: 403}
	server := httptest.NewServer(proxy)
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(t, func(o *webhook.Options) { o.Guard = egress.New(egress.Options{Proxy: address}) })
	for _, host := range []string{"10.0.0.1", "169.254.169.254", "[::1]", "localhost", "2130706433", "localhost%2e", "①②⑦.⓪.⓪.①", "metadata.google.internal.", address.Host} {
		for _, scheme := range []string{"http://", "https://"} {
			if got := deliver(t, s, scheme+host+"/"); got.Reason != herald.ReasonNotAllowed {
				t.Errorf("%s%s: reason %q, error %q", scheme, host, got.Reason, got.Error)
			}
		}
	}
	if len(proxy.asked) > 0 {
		t.Errorf("the proxy was asked %q", proxy.asked)
	}
}
