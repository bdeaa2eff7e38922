package portal

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

func TestOverviewSaysWhoFailsAndWhy(t *testing.T) {
	f := newFixture(t)
	f.counts = []herald.Statistics{
		{Receiver: "https://fine.example/hook", Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 999, Failed: 1}, LastSuccess: noon.Add(-time.Minute)}},
		{Receiver: "https://" + acme.String() + ".example/hook", Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 1, Failed: 3}, LastSuccess: noon.Add(-time.Hour)}},
		{Receiver: herald.OtherReceivers}}
	text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, ""))
	for _, want := range []string{"1 of 3 receivers is failing: its last answer was 401.", ": its last answer was 401.", "3 deliveries failed for good", "/recover\">Recover this one…", "99.9 %", "25 %", "48 delivered, 24 failed", "A row is an address with every query", url.QueryEscape("https://fine.example/hook?*"), "<title>23 h ago: 2 delivered, 1 failed</title>", "All others"} {
		if !strings.Contains(text, want) {
			t.Errorf("the overview does not say %q:\n%s", want, text)
		}
	}
	if strings.Index(text, acme.String()+".example/hook\">") > strings.Index(text, "fine.example") {
		t.Error("the failing receiver is not the first")
	}
	f.issues[0].State, f.issues[0].EndedAt = herald.IssueEnded, noon.Add(-time.Hour)
	if text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "")); !strings.Contains(text, "Over, with deliveries that failed") || !strings.Contains(text, "All 3 receivers are answering.") {
		t.Errorf("after the end of the issue:\n%s", text)
	}
}

// TestHealthInWords is a table of the sentence about the receivers. They are counted by their addresses without query, and
// those that somebody takes care of are said last.
func TestHealthInWords(t *testing.T) {
	issue := func(receiver string) issueRow {
		return issueRow{Issue: herald.Issue{Receiver: receiver, Reason: herald.ReasonTimeout}}
	}
	const a, b = "https://a.example/", "https://b.example/"
	one, two, known := issue(a), issue(b), issue(b)
	known.Acknowledged = &herald.Acknowledgement{}
	many := make([]issueRow, countedIssues)
	for n := range many {
		many[n] = issue(a + "?n=" + strconv.Itoa(n))
	}
	rows := func(names ...string) (all []receiverRow) {
		for _, name := range names {
			all = append(all, receiverRow{Statistics: herald.Statistics{Receiver: name, Counts: herald.Counts{LastSuccess: noon}}})
		}
		return all
	}
	unused := rows(b)
	unused[0].Unused = true
	untried := rows(b)
	untried[0].LastSuccess = time.Time{}
	for _, test := range []struct {
		open []issueRow
		rows []receiverRow
		more bool
		want string
	}{
		{nil, append(untried, rows(a)...), false, "No receiver is failing."}, {[]issueRow{known}, append(untried, rows(a)...), false, "No other receiver is failing. 1 failing receiver is acknowledged."},
		{nil, nil, false, ""}, {nil, rows(a), false, "The receiver is answering."}, {nil, rows(a, b), false, "Both receivers are answering."}, {nil, rows(a, b, "c"), false, "All 3 receivers are answering."},
		{nil, rows(a, b, "c"), true, "All more than 3 receivers are answering."}, {nil, append(unused, rows(a)...), false, "The receiver is answering."}, {nil, unused, false, ""},
		{[]issueRow{one}, rows(a, b, "c"), false, "1 of 3 receivers is failing: it does not answer in time."}, {[]issueRow{one, one}, rows(a), false, "The receiver is failing: it does not answer in time."},
		{[]issueRow{issue(a + "?n=1"), issue(a + "?n=2")}, rows(a, b), false, "1 of 2 receivers is failing: it does not answer in time."},
		{[]issueRow{one, two}, rows(a, b, "c"), true, "2 of more than 3 receivers are failing."}, {[]issueRow{one, two}, nil, false, "2 of 2 receivers are failing."},
		{many, rows(a, b), false, "At least 1 receiver is failing."}, {[]issueRow{one, issue("")}, rows(a), false, "At least 2 receivers are failing."},
		{[]issueRow{known}, rows(a, b), false, "All other receivers are answering. 1 failing receiver is acknowledged."}, {[]issueRow{known}, rows(b), false, "1 failing receiver is acknowledged."},
		{[]issueRow{known, one}, rows(a, b), false, "1 of 2 receivers is failing: it does not answer in time. 1 failing receiver is acknowledged."},
		{[]issueRow{known, two}, rows(b), false, "The receiver is failing: it does not answer in time."},
	} {
		if got := healthOf(test.open, test.rows, test.more).String(); got != test.want {
			t.Errorf("%d issues, %d rows: %q, want %q", len(test.open), len(test.rows), got, test.want)
		}
	}
}

// TestWhatNobodyUsesDoesNotFail: an issue of a receiver that no rule sends to is over, and one that is acknowledged
// makes no red banner.
func TestWhatNobodyUsesDoesNotFail(t *testing.T) {
	f := newFixture(t)
	f.deliveries[0].State = herald.Delivered
	f.counts = []herald.Statistics{{Receiver: f.issues[0].Receiver, Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Failed: 3}}}}
	session, i := f.signedIn("acme"), &f.issues[0]
	has(t, f.page(session, http.StatusOK, of(acme, "")), `class="banner bad"`, "The receiver is failing", ">Failing<")
	i.Acknowledged = &herald.Acknowledgement{At: noon, Note: "they deploy"}
	has(t, f.page(session, http.StatusOK, of(acme, "")), `class="banner wait"`, "1 failing receiver is acknowledged.", "they deploy")
	text := f.page(f.signedIn("operator"), http.StatusOK, Path+"clients")
	has(t, text, "1 failing receiver is acknowledged", "1 receiver fails") // Acme's, and its rival's
	i.State, i.EndedAt, i.Unused = herald.IssueEnded, noon.Add(-time.Minute), true
	text = f.page(session, http.StatusOK, of(acme, ""))
	has(t, text, `class="banner good"`, "No rule sends to it any more, since", "Not used any more")
	if strings.Contains(text, "failing") || strings.Contains(text, "Failing now") {
		t.Errorf("what nobody uses fails:\n%s", text)
	}
}

// TestWhatFailedIsThatOfTheIssue: the list of what failed in an issue ends with it, and has no other reasons.
func TestWhatFailedIsThatOfTheIssue(t *testing.T) {
	f := newFixture(t)
	end := noon.Add(-time.Hour)
	i := &f.issues[0]
	i.State, i.EndedAt, i.RecoveryFilter.Until = herald.IssueEnded, end, end
	text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, ""))
	link := regexp.MustCompile(`href="([^"]*)">What failed`).FindStringSubmatch(text)
	if link == nil {
		t.Fatalf("no link:\n%s", text)
	}
	f.page(f.signedIn("acme"), http.StatusOK, html.UnescapeString(link[1]))
	want := herald.DeliveryFilter{State: new(herald.Failed), Receiver: i.Receiver, Reason: i.Reason, Since: i.RecoveryFilter.Since, Until: end, Limit: deliveryPage + 1}
	if diff := cmp.Diff(want, f.filter); diff != "" {
		t.Errorf("what failed is asked for by (-want +got):\n%s", diff)
	}
}

// TestRowStandsForAllItsAddresses: of addresses that differ in their query, some fail while others answer.
func TestRowStandsForAllItsAddresses(t *testing.T) {
	issue := &issueRow{Issue: herald.Issue{Failed: 1, LastAt: noon.Add(-time.Minute)}}
	for want, row := range map[string]receiverRow{
		"Failing in part":   {Issue: issue, Statistics: herald.Statistics{Counts: herald.Counts{LastSuccess: noon}}},
		"Failing":           {Issue: issue, Statistics: herald.Statistics{Counts: herald.Counts{LastSuccess: noon.Add(-time.Hour)}}},
		"Not used any more": {Unused: true}, "No success yet": {},
		"Answering": {Statistics: herald.Statistics{Counts: herald.Counts{LastSuccess: noon}}},
	} {
		if got := row.State().Word; got != want {
			t.Errorf("%+v is %q, want %q", row, got, want)
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
