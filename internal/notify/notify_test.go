package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/notify"
)

// fake is the store and the publisher. What is told of is noted by issue.
type fake struct {
	due, ended []herald.Issue
	told       []string
	published  map[string]string // data by idempotency key
	refuse     error             // of the next publications
	dies       bool              // before it notes what was told
	rules      bool
}

func (f *fake) MarkFailing(context.Context) (int, error) { return 0, nil }

func (f *fake) ToTell(_ context.Context, recovered bool) ([]herald.Issue, error) {
	if recovered {
		return slices.Clone(f.ended), nil
	}
	return slices.Clone(f.due), nil
}

func (f *fake) Told(_ context.Context, id uuid.UUID, recovered bool) error {
	if f.dies {
		return errors.New("the node dies")
	}
	list, what := &f.due, "failing"
	if recovered {
		list, what = &f.ended, "recovered"
	}
	*list = slices.DeleteFunc(*list, func(i herald.Issue) bool { return i.ID == id })
	f.told = append(f.told, what)
	return nil
}

func (f *fake) Publish(_ context.Context, by herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	if f.refuse != nil {
		return nil, f.refuse
	}
	p := pubs[0]
	if before, known := f.published[p.IdempotencyKey]; known && before != string(p.Data) {
		return nil, &herald.ItemError{Err: herald.Errorf(herald.CodeMismatch, "used before")}
	}
	f.published[p.IdempotencyKey] = string(p.Data)
	return []herald.Receipt{{}}, nil
}

func newFixture() (*fake, *notify.Notifier) {
	f := &fake{published: make(map[string]string), rules: true}
	return f, &notify.Notifier{Store: f, Publisher: f, Log: slog.New(slog.DiscardHandler),
		HasRules: func(context.Context, uuid.UUID, string) (bool, error) { return f.rules, nil },
		Link:     func(i herald.Issue) string { return "https://herald.example/" + i.ID.String() }}
}

var issue = herald.Issue{ID: uuid.MustParse("019ab0c1-4444-7111-8111-111111111111"), Receiver: "https://acme.example/hook", Reason: herald.ReasonStatus, LastStatus: 503,
	BeganAt: time.Date(2026, 11, 23, 9, 0, 12, 345678000, time.UTC), EndedAt: time.Date(2026, 11, 23, 9, 31, 0, 5000, time.UTC), Attempts: 12, Failed: 3}

func step(t *testing.T, n *notify.Notifier) {
	t.Helper()
	if _, err := n.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsTold: the data of both events, with the reason in words and a link.
func TestWhatIsTold(t *testing.T) {
	f, n := newFixture()
	f.due, f.ended = []herald.Issue{issue}, []herald.Issue{issue}
	step(t, n)
	const common = `"failingAttempts":12,"failedDeliveries":3,"reason":"status","description":"Your server answered 503.","link":"https://herald.example/019ab0c1-4444-7111-8111-111111111111"}`
	const begin = `{"issueId":"019ab0c1-4444-7111-8111-111111111111","receiver":"https://acme.example/hook","since":"2026-11-23T09:00:12Z",`
	want := map[string]string{
		"herald.receiver.failing " + issue.ID.String():   begin + common,
		"herald.receiver.recovered " + issue.ID.String(): begin + `"recoveredAt":"2026-11-23T09:31:00Z",` + common,
	}
	if diff := cmp.Diff(want, f.published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if !slices.Equal(f.told, []string{"failing", "recovered"}) {
		t.Errorf("told %v", f.told)
	}
	for _, data := range f.published {
		if !json.Valid([]byte(data)) {
			t.Error(data)
		}
	}
}

// TestCrashBetweenPublishingAndNoting: the next node publishes with the same key, and a count that has
// changed meanwhile is no second notification.
func TestCrashBetweenPublishingAndNoting(t *testing.T) {
	f, n := newFixture()
	f.due, f.dies = []herald.Issue{issue}, true
	step(t, n)
	f.dies = false
	f.due[0].Attempts++
	step(t, n)
	if len(f.published) != 1 || len(f.told) != 1 || len(f.due) != 0 {
		t.Errorf("published %v, told %v, still due %v", f.published, f.told, f.due)
	}
}

// TestWhatCannotBeToldIsToldLater: and does not hold up the others.
func TestWhatCannotBeToldIsToldLater(t *testing.T) {
	f, n := newFixture()
	f.due, f.refuse = []herald.Issue{issue}, herald.Errorf(herald.CodeUnavailable, "the database is away")
	step(t, n)
	if len(f.told) != 0 {
		t.Errorf("told %v", f.told)
	}
	f.refuse = nil
	step(t, n)
	if len(f.published) != 1 || len(f.told) != 1 {
		t.Errorf("published %v, told %v", f.published, f.told)
	}
}

// TestWithoutRulesNothingIsPublished: the client has switched them off meanwhile, or was deleted.
func TestWithoutRulesNothingIsPublished(t *testing.T) {
	f, n := newFixture()
	f.rules, f.due = false, []herald.Issue{issue}
	step(t, n)
	if len(f.published) != 0 || strings.Join(f.told, "") != "failing" {
		t.Errorf("published %v, told %v", f.published, f.told)
	}
}
