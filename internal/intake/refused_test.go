package intake_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// TestARefusedPublishIsPlannedOnce if its client has not changed: each plan makes an id.
func TestARefusedPublishIsPlannedOnce(t *testing.T) {
	in, f := newIntake(t, herald.Rule{Webhook: "https://r.example/hook"})
	ids := 0
	in.WithIDs(herald.NewIDs(func() time.Time { ids++; return time.Now() }))
	good, unknown, elsewhere := f.publication(10), f.publication(10), f.publication(10)
	unknown.Type = "unheard of"
	for name, test := range map[string]struct {
		pubs []herald.Publication
		ids  int
	}{
		"one of an array":      {[]herald.Publication{good, good, unknown}, 2},
		"one":                  {[]herald.Publication{unknown}, 0},
		"one that is accepted": {[]herald.Publication{elsewhere}, 1},
	} {
		ids = 0
		_, err := in.Publish(t.Context(), operator, test.pubs)
		if refused := test.ids != len(test.pubs); (err != nil) != refused || ids != test.ids {
			t.Errorf("%s: %v, %d ids, want %d", name, err, ids, test.ids)
		}
	}
}

// TestAPublishRefusedByAnOldVersionIsPlannedAnew: a client's type of event may be new to this node.
func TestAPublishRefusedByAnOldVersionIsPlannedAnew(t *testing.T) {
	in, f := newIntake(t, herald.Rule{Webhook: "https://r.example/hook"})
	if _, err := in.Publish(t.Context(), operator, []herald.Publication{f.publication(10)}); err != nil {
		t.Fatal(err)
	}
	own := herald.Publication{Event: herald.Event{ClientID: f.state.Client.ID, Type: "own", CompanyID: uuid.New()}}
	if _, err := in.Publish(t.Context(), operator, []herald.Publication{own}); herald.CodeOf(err) != herald.CodeInvalid {
		t.Fatalf("%v, want that there is no such type", err)
	}
	f.state.EventTypes = []herald.EventType{{Name: "own", Message: "m"}}
	f.state.Client.Version++
	f.state.Client.Revision++
	if _, err := in.Publish(t.Context(), operator, []herald.Publication{f.publication(10), own}); err != nil {
		t.Errorf("after the type was added on another node: %v", err)
	}
}
