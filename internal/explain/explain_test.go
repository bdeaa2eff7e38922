package explain

import (
	"testing"
	"time"

	"herald"
)

func TestHeaderChangedIsTheNewestChangeOfTheHeader(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 3, 9, minute, 0, 0, time.UTC) }
	entry := func(minute int, action herald.Action, before, after string) herald.Change {
		return herald.Change{At: at(minute), Action: action, Before: []byte(before), After: []byte(after)}
	}
	renamed := entry(9, herald.ProfileUpdated, `{"name":"a","alertAuthHeader":"Bearer …"}`, `{"name":"b","alertAuthHeader":"Bearer …"}`)
	for name, test := range map[string]struct {
		changes []herald.Change
		want    time.Time
	}{
		"nothing":                    {nil, time.Time{}},
		"only a name":                {[]herald.Change{renamed}, time.Time{}},
		"another kind":               {[]herald.Change{entry(8, herald.RuleCreated, "", `{}`)}, time.Time{}},
		"another value":              {[]herald.Change{renamed, entry(7, herald.ProfileUpdated, `{"alertAuthHeader":"Bearer …"}`, `{"alertAuthHeader":"Bearer … (changed)"}`)}, at(7)},
		"set":                        {[]herald.Change{entry(6, herald.ProfileUpdated, `{}`, `{"alertAuthHeader":"Basic … (changed)"}`)}, at(6)},
		"removed, the newest counts": {[]herald.Change{entry(5, herald.ProfileUpdated, `{"alertAuthHeader":"Bearer …"}`, `{}`), entry(4, herald.ProfileUpdated, `{}`, `{"alertAuthHeader":"x (changed)"}`)}, at(5)},
		"what cannot be read":        {[]herald.Change{entry(3, herald.ProfileUpdated, `x`, `y`)}, time.Time{}},
	} {
		if got := HeaderChanged(test.changes); !got.Equal(test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
