package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

func TestOverviewSaysWhoFailsAndWhy(t *testing.T) {
	f := newFixture(t)
	f.counts = []herald.Statistics{
		{Receiver: "https://fine.example/hook", Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 999, Failed: 1}, LastSuccess: noon.Add(-time.Minute)}},
		{Receiver: "https://" + acme.String() + ".example/hook", Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 1, Failed: 3}}},
		{Receiver: herald.OtherReceivers}}
	text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, ""))
	for _, want := range []string{"1 of 3 receivers is failing: it answers 401.", "It answers 401, since", "3 deliveries failed for good", "/recover\">Recover this one…", "99.9 %", "25 %", "48 delivered, 24 failed", "<title>23 h ago: 2 delivered, 1 failed</title>", "All others"} {
		if !strings.Contains(text, want) {
			t.Errorf("the overview does not say %q:\n%s", want, text)
		}
	}
	if strings.Index(text, acme.String()+".example/hook\">") > strings.Index(text, "fine.example") {
		t.Error("the failing receiver is not the first")
	}
	f.issues[0].State, f.issues[0].EndedAt = herald.IssueEnded, noon.Add(-time.Hour)
	if text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "")); !strings.Contains(text, "Answering again, with deliveries that failed before") || !strings.Contains(text, "All 3 receivers are answering.") {
		t.Errorf("after the end of the issue:\n%s", text)
	}
}

// TestHealthInWords is a table of the sentence about the receivers.
func TestHealthInWords(t *testing.T) {
	one, two := issueRow{Issue: herald.Issue{Receiver: "https://a.example", Reason: herald.ReasonTimeout}}, issueRow{Issue: herald.Issue{Receiver: "https://b.example"}}
	for _, test := range []struct {
		open  []issueRow
		total int
		more  bool
		want  string
	}{
		{nil, 0, false, ""}, {nil, 1, false, "The receiver is answering."}, {nil, 2, false, "Both receivers are answering."}, {nil, 3, false, "All 3 receivers are answering."},
		{nil, 200, true, "All more than 200 receivers are answering."},
		{[]issueRow{one}, 3, false, "1 of 3 receivers is failing: it does not answer in time."}, {[]issueRow{one, one}, 1, false, "The receiver is failing: it does not answer in time."},
		{[]issueRow{one, two}, 200, true, "2 of more than 200 receivers are failing."}, {[]issueRow{one, two}, 0, false, "2 receivers are failing."}, {slices.Repeat([]issueRow{one}, maxIssues), 3, false, "At least 1 receiver fails."},
	} {
		if got := receiverHealth(test.open, test.total, test.more); got != test.want {
			t.Errorf("%d of %d: %q, want %q", len(test.open), test.total, got, test.want)
		}
	}
}

func TestRecoverAsksFirst(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/issues/"+issueID(acme).String()+"/recover")
	f.recovery = herald.Recovery{Count: 12, Skipped: 1}
	if text := f.page(session, http.StatusOK, at); !strings.Contains(text, "Recover these 12") || !strings.Contains(text, "1 other has no receiver") || len(f.changed) > 0 {
		t.Errorf("asking does %q:\n%s", f.changed, text)
	}
	want := herald.DeliveryFilter{Receiver: f.issues[0].Receiver, Reason: herald.ReasonStatus, Since: noon.Add(-time.Hour)}
	if got := f.recovered[0]; got != want {
		t.Errorf("the filter is %+v, want %+v", got, want)
	}
	w := f.request(session, http.MethodPost, at, url.Values{})
	if w.Code != http.StatusSeeOther || !slices.Equal(f.changed, []string{"recover"}) {
		t.Fatalf("status %d, done %q", w.Code, f.changed)
	}
	f.deliveries = nil
	if text := f.page(session, http.StatusOK, w.Header().Get("Location")); !strings.Contains(text, "12 deliveries were made again.") || !strings.Contains(text, "All of them have arrived.") || strings.Contains(text, "More may be left") || strings.Contains(text, "data-live") {
		t.Errorf("the result:\n%s", text)
	}
	if since := f.filter.Since; !since.Equal(noon) {
		t.Errorf("what became of them is asked since %v, not %v", since, noon)
	}
	again := herald.Delivery{ID: herald.NewID(), ClientID: acme, Address: f.issues[0].Receiver, State: herald.Failed, Repeats: herald.NewID()}
	waits, raised := again, again
	waits.State, raised.Repeats = herald.Pending, uuid.Nil
	f.deliveries = []herald.Delivery{again, waits, waits, raised}
	if text := f.page(session, http.StatusOK, w.Header().Get("Location")); !strings.Contains(text, "Of these, 1 delivery failed again. 2 deliveries have not arrived yet.") || !strings.Contains(text, "data-live") || !strings.Contains(text, "state=failed") {
		t.Errorf("the result with one that failed again:\n%s", text)
	}
	if text := f.page(session, http.StatusOK, at+"?made=1&skipped=0&since=2026-11-28T12:00:00Z&after="+uuid.NewString()); !strings.Contains(text, "More may be left") || !strings.Contains(text, `name="after"`) {
		t.Errorf("an unfinished one:\n%s", text)
	}
	for _, query := range []string{"?made=x", "?made=-1&skipped=0", "?made=1&skipped=0&since=1h&after=x", "?made=1&skipped=0", "?made=1&skipped=0&since=x"} {
		f.page(session, http.StatusBadRequest, at+query)
	}
	if text := f.page(f.signedIn("analyst"), http.StatusOK, at); !strings.Contains(text, `disabled aria-describedby="no-recover"`) {
		t.Error("an analyst may recover")
	}
}

// TestNoteIsKeptWhileItIsWrong, and its lines count as they were typed.
func TestNoteIsKeptWhileItIsWrong(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("acme"), of(acme, "/issues/"+issueID(acme).String()+"/acknowledge")
	long := strings.Repeat("x", herald.MaxNote) + "\r\nend"
	w := f.request(session, http.MethodPost, at, url.Values{"note": {long}})
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "The note has 1004 characters; at most 1000 are taken.") || typedIn(t, w.Body.String(), at).Get("note") != long {
		t.Errorf("a long note: status %d:\n%s", w.Code, w.Body)
	}
	note := strings.Repeat("x", herald.MaxNote-8) + strings.Repeat("\r\n", 7) + "x"
	want := strings.ReplaceAll(note, "\r\n", "\n")
	if w := f.request(session, http.MethodPost, at, url.Values{"note": {note}}); w.Code != http.StatusSeeOther || !slices.Equal(f.changed, []string{"acknowledge " + want}) {
		t.Errorf("a note of %d characters: status %d, did %q", herald.MaxNote, w.Code, f.changed)
	}
	f.issues[0].Acknowledged = &herald.Acknowledgement{At: noon, Note: "first line\r\nsecond"}
	if text := f.page(session, http.StatusOK, of(acme, "")); !strings.Contains(text, "“first line\nsecond”") || !strings.Contains(text, `href="`+at+`" data-dialog`) {
		t.Errorf("the overview:\n%s", text)
	}
	if got := typedIn(t, f.page(session, http.StatusOK, at), at).Get("note"); got != "first line\r\nsecond" {
		t.Errorf("the form has the note %q", got)
	}
	if text := f.page(f.signedIn("analyst"), http.StatusOK, at); !strings.Contains(text, `disabled aria-describedby="no-note"`) {
		t.Error("an analyst may acknowledge")
	}
}
