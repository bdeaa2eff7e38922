package native

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"herald"
)

func TestPortalLinkIsMadeAsAsked(t *testing.T) {
	r := newFixture(t)
	client := r.must(http.StatusCreated, operatorKey, "POST", "/clients", `{"name":"Acme"}`)["id"].(string)
	path := "/clients/" + client + "/portalLinks"
	for _, test := range []struct {
		body string
		want herald.PortalLink
		life time.Duration
	}{
		{"", herald.PortalLink{Role: herald.Developer}, 10 * time.Minute},
		{"{}", herald.PortalLink{Role: herald.Developer}, 10 * time.Minute},
		{`{"role":null,"expiresIn":null,"path":null}`, herald.PortalLink{Role: herald.Developer}, 10 * time.Minute},
		{`{"role":"analyst","expiresIn":86400,"path":"/deliveries?state=failed&type=Sync%20Failed"}`,
			herald.PortalLink{Role: herald.Analyst, Path: "/deliveries?state=failed&type=Sync%20Failed"}, 24 * time.Hour},
		{`{"expiresIn":1,"path":"/"}`, herald.PortalLink{Role: herald.Developer, Path: "/"}, time.Second},
	} {
		answer := r.must(http.StatusCreated, operatorKey, "POST", path, test.body)
		if answer["url"] != "http://example.com/portal/link#secret" || answer["clientId"] != client || answer["role"] != string(test.want.Role) {
			t.Errorf("%s: answer %v", test.body, answer)
		}
		if r.link.Role != test.want.Role || r.link.Path != test.want.Path || r.link.ExpiresAt.Sub(r.now) != test.life {
			t.Errorf("%s: made %+v", test.body, r.link)
		}
	}
	for body, wrong := range map[string][2]string{
		`{"role":"owner"}`:                              {"role", "is not one of"},
		`{"expiresIn":0}`:                               {"expiresIn", "from 1 to 86400"},
		`{"expiresIn":-1}`:                              {"expiresIn", "from 1 to 86400"},
		`{"expiresIn":86401}`:                           {"expiresIn", "from 1 to 86400"},
		`{"expiresIn":1.5}`:                             {"expiresIn", "from 1 to 86400"},
		`{"expiresIn":1e99}`:                            {"expiresIn", "from 1 to 86400"},
		`{"expiresIn":"10m"}`:                           {"expiresIn", "a whole number"},
		`{"expires":600}`:                               {"expires", "no such member"},
		`{"path":"deliveries"}`:                         {"path", "is not a path"},
		`{"path":"//evil.example/x"}`:                   {"path", "is not a path"},
		`{"path":"https://evil.test"}`:                  {"path", "is not a path"},
		`{"path":"/../clients"}`:                        {"path", "is not a path"},
		`{"path":"/%2e%2e/clients"}`:                    {"path", "is not a path"},
		`{"path":"/\\evil.example"}`:                    {"path", "backslash"},
		`{"path":"/a\nb"}`:                              {"path", "control character"},
		`{"path":"/a#b"}`:                               {"path", "is not a path"},
		`{"path":"/` + strings.Repeat("a", 2000) + `"}`: {"path", "at most 2000"},
	} {
		r.refused(http.StatusBadRequest, wrong[0], wrong[1], operatorKey, "POST", path, body)
	}
	r.refused(http.StatusNotFound, "", "was found with ID", operatorKey, "POST", "/clients/"+rival.String()+"/portalLinks", "")
}

func TestSessionsOfAKeyEnd(t *testing.T) {
	r := newFixture(t)
	for _, key := range []string{acmeKey, operatorKey} {
		r.must(http.StatusNoContent, key, "DELETE", "/sessions", "")
	}
	if len(r.ended) != 2 || r.ended[0].Key.ClientID != acme || !r.ended[1].Operator {
		t.Errorf("sessions of %+v have ended", r.ended)
	}
}
