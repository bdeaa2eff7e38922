package browser_test

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/clock"
	"herald/internal/test/browser"
)

// update has the pictures of the documentation made anew.
var update = flag.Bool("update", false, "make the pictures in docs/images anew")

const (
	pictureDir = "../../../docs/images"
	maxPicture = 150_000 // bytes: a README is also read on the way
)

// TestPicturesShowThePortal makes the pictures in README and docs, with -update. Otherwise it checks that each picture that a
// page names is there and small.
func TestPicturesShowThePortal(t *testing.T) {
	if *update {
		takePictures(t)
	}
	for _, name := range []string{"overview", "deliveries", "delivery"} {
		for _, scheme := range []string{"light", "dark"} {
			file := filepath.Join(pictureDir, name+"-"+scheme+".png")
			if info, err := os.Stat(file); err != nil || info.Size() > maxPicture {
				t.Errorf("%s: %v, %+v; want it with at most %d bytes: go test ./internal/test/browser -run Pictures -update", file, err, info, maxPicture)
			}
		}
	}
}

// takePictures makes the pictures.
func takePictures(t *testing.T) {
	var passed atomic.Int64 // how much later it is than in truth
	began := time.Now()
	later := func() time.Duration { return time.Duration(passed.Load()) }
	pretended := clock.New(clock.Options{Wall: func() time.Time { return time.Now().Add(later()) }, Elapsed: func() time.Duration { return time.Since(began) + later() }})
	s := startService(t, func(c *app.Config) {
		c.Clock, c.EgressProxy = pretended, internet(t)
		c.RetrySchedule = []time.Duration{4 * time.Hour, 4 * time.Hour, 4 * time.Hour}
	})
	a := s.account("Acme Accounting")
	profile, err := a.api.Profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	profile.AlertAuthHeader = "Bearer 5f0c1a1d8e9b4c"
	if _, err := a.api.SaveProfile(t.Context(), profile); err != nil {
		t.Fatal(err)
	}
	for i, address := range []string{"http://hooks.ledgerly.example/herald", "http://api.northwind.example/webhooks/accounting", "http://erp.contoso.example/incoming/sync"} {
		a.rule("Sync Failed", address, companies[i])
		a.rule("Sync Completed", address, companies[i])
	}
	for n := range 26 {
		e := syncFailed(companies[[]int{0, 0, 0, 1, 0, 0, 2}[n%7]])
		if n%5 != 2 {
			e.Type = "Sync Completed"
		}
		if _, err := a.api.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		a.attempted(1)
		passed.Add(int64(7*time.Minute + 13*time.Second))
	}
	all := a.attempted(1)
	if _, err := a.api.Retry(t.Context(), pick(all, herald.Pending).ID); err != nil {
		t.Fatal(err)
	}
	all = a.attempted(1)
	tab := s.signedIn(t, a.APIKey)
	if err := os.MkdirAll(pictureDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"overview": a.path(""), "deliveries": a.path("/deliveries"), "delivery": a.path("/deliveries/" + failedFor(all, "contoso").ID.String())} {
		for _, scheme := range []string{"light", "dark"} {
			tab.Look(1280, scheme)
			tab.Open(path, http.StatusOK)
			picture(t, tab, filepath.Join(pictureDir, name+"-"+scheme+".png"))
		}
	}
}

// picture writes what the tab shows to a file.
func picture(t *testing.T, tab *browser.Tab, file string) {
	t.Helper()
	whole, err := png.Decode(bytes.NewReader(tab.Picture()))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, withFewColours(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, small.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withFewColours returns a picture with its 256 commonest colours, which is a third as large.
func withFewColours(whole image.Image) image.Image {
	count, at := make(map[color.Color]int), whole.Bounds()
	for y := range at.Dy() {
		for x := range at.Dx() {
			count[whole.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	few := image.NewPaletted(at, colours[:min(len(colours), 256)])
	nearest := make(map[color.Color]uint8)
	for _, c := range colours {
		nearest[c] = uint8(few.Palette.Index(c))
	}
	for y := range at.Dy() {
		for x := range at.Dx() {
			few.SetColorIndex(x, y, nearest[whole.At(x, y)])
		}
	}
	return few
}

// failedFor returns the newest delivery that failed at a receiver.
func failedFor(all []client.Delivery, receiver string) client.Delivery {
	for _, d := range all {
		if d.State == herald.Failed && strings.Contains(d.Address, receiver) {
			return d
		}
	}
	panic("nothing failed at " + receiver)
}

// internet starts a proxy behind which every name is a receiver, so that the pictures have addresses as in life.
func internet(t *testing.T) *url.URL {
	t.Helper()
	receivers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.Host, "erp."):
			answers(http.StatusUnauthorized, `{"error":"unauthorized","detail":"The Authorization header does not match."}`)(w, r)
		case strings.HasPrefix(r.Host, "api."):
			answers(http.StatusServiceUnavailable, `{"error":"down for maintenance"}`)(w, r)
		default:
			answers(http.StatusOK, `{"received":true}`)(w, r)
		}
	}))
	t.Cleanup(receivers.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", receivers.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
