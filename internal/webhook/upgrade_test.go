package webhook

import (
	"testing"

	"herald/internal/egress"
)

func TestAuthorizationStaysWithItsReceiver(t *testing.T) {
	for _, test := range []struct {
		from, to string
		keeps    bool
	}{
		{"http://a.example/x", "https://a.example/y", true}, {"http://a.example:80/", "https://A.example:443/", true}, {"https://a.example/", "https://a.example:443/", true},
		{"http://a.example/", "http://a.example/z", true}, {"http://[2606:4700::1111]/", "https://[2606:4700:0::1111]/", true}, {"http://bücher.example", "https://xn--bcher-kva.example/", true},
		{"http://a.example:8080/", "https://a.example/", false}, {"http://a.example/", "https://a.example:8443/", false}, {"http://a.example:8080/", "https://a.example:8080/", false},
		{"http://a.example:443/", "https://a.example/", false}, {"http://a.example/", "https://b.a.example/", false}, {"http://a.example/", "https://a.example./", false},
		{"https://a.example/", "http://a.example/", false}, {"https://a.example:80/", "https://a.example/", false}, {"http://a.example/", "https://a.example:80/", false},
	} {
		from, err := egress.ParseAddress(test.from)
		to, err2 := egress.ParseAddress(test.to)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if got := keepsAuthorization(from, to); got != test.keeps {
			t.Errorf("%s to %s keeps the header: %v, want %v", test.from, test.to, got, test.keeps)
		}
	}
}
