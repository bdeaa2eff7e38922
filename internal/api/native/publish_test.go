package native

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"herald"
)

// TestReceiptsAreWrittenAsEncodingJSONDoes compares the two.
func TestReceiptsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	none := herald.Receipt{EventID: herald.NewEventID(), AlertIDs: []uuid.UUID{}}
	one := herald.Receipt{EventID: herald.NewEventID(), AlertCount: 1, AlertIDs: []uuid.UUID{herald.NewID()}}
	many := herald.Receipt{EventID: herald.NewEventID(), AlertCount: 65535, AlertIDs: []uuid.UUID{herald.NewID(), {}, herald.NewID()}}
	for _, results := range [][]herald.Receipt{{none}, {one}, {many}, {none, one, many}} {
		for _, array := range []bool{false, true} {
			var want any = results[0]
			if array {
				want = receipts{Results: results}
			}
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if got := (published{results, array}).AppendJSON(nil); !bytes.Equal(got, text) {
				t.Errorf("%s, want %s", got, text)
			}
		}
	}
	if got := (published{results: []herald.Receipt{{}}}).AppendJSON([]byte("x")); string(got) != `x{"id":"00000000-0000-0000-0000-000000000000","alertCount":0,"alertIds":[]}` {
		t.Errorf("without alerts: %s", got)
	}
}
