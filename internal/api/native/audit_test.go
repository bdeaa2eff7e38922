package native

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
)

func TestTheAuditLogIsFiltered(t *testing.T) {
	r := newFixture(t)
	since := time.Date(2026, 5, 3, 10, 0, 0, 0, time.UTC)
	r.must(http.StatusOK, acmeKey, "GET", "/audit?action=rule.deleted&actor=portalLink&since=2026-05-03T10:00:00Z&until=2026-05-03T11:00:00Z&limit=7", "")
	want := herald.ChangeFilter{Actions: []herald.Action{herald.RuleDeleted}, Actor: herald.ActorPortalLink, Since: since, Until: since.Add(time.Hour), Limit: 8}
	if diff := cmp.Diff(want, r.changeFilter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	r.must(http.StatusOK, acmeKey, "GET", "/audit?action=rule", "")
	if diff := cmp.Diff([]herald.Action{herald.RuleCreated, herald.RuleUpdated, herald.RuleDeleted}, r.changeFilter.Actions); diff != "" {
		t.Errorf("actions of rules (-want +got):\n%s", diff)
	}
	for query, want := range map[string]string{"action=rules": "none of the kinds", "action=rule.": "no action such as", "action=.deleted": "no action such as", "actor=key": "is not one of", "since=yesterday": "", "until=x": ""} {
		r.refused(http.StatusBadRequest, query[:strings.IndexByte(query, 61)], want, acmeKey, "GET", "/audit?"+query, "")
	}
}
