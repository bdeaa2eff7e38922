package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

// TestAuditLogIsFilteredToItsEnd: by action, actor and time, in pages of any size, also if a search is split.
func TestAuditLogIsFilteredToItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		byKey := herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: f.client.ID, Role: herald.Developer}}
		began := time.Now().Add(-time.Second)
		for n := range 30 {
			by := operator
			if n%5 == 0 {
				by = byKey
			}
			if err := f.SaveAuthorization(t.Context(), by, f.client.ID, []string{"Bearer a", "Bearer b"}[n%2]); err != nil {
				t.Fatal(err)
			}
			if n%10 == 0 {
				rule := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Failed", PostedType: "Sync Failed", Webhook: "https://a.example"}
				if err := f.CreateRule(t.Context(), operator, rule); err != nil {
					t.Fatal(err)
				}
				if err := f.DeleteRule(t.Context(), operator, f.client.ID, rule.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		all := func(q herald.ChangeFilter, limit int) (ids []uuid.UUID) {
			q.Limit = limit
			for {
				found, next, err := f.Changes(t.Context(), f.client.ID, q)
				if err != nil || len(found) > limit {
					t.Fatalf("%d found, %v", len(found), err)
				}
				for _, c := range found {
					ids = append(ids, c.ID)
				}
				switch {
				case next != uuid.Nil:
					q.After = next
				case len(found) == limit:
					q.After = found[limit-1].ID
				default:
					return ids
				}
			}
		}
		for name, test := range map[string]struct {
			filter herald.ChangeFilter
			want   int
		}{
			"actor":          {herald.ChangeFilter{Actor: herald.ActorKey}, 6},
			"action":         {herald.ChangeFilter{Actions: []herald.Action{herald.RuleDeleted}}, 3},
			"two actions":    {herald.ChangeFilter{Actions: []herald.Action{herald.RuleDeleted, herald.RuleCreated}, Actor: herald.ActorOperator}, 7}, // with that of the fixture
			"nobody's":       {herald.ChangeFilter{Actions: []herald.Action{herald.RuleDeleted}, Actor: herald.ActorKey}, 0},
			"since":          {herald.ChangeFilter{Actor: herald.ActorKey, Since: began}, 6},
			"since later":    {herald.ChangeFilter{Since: time.Now().Add(time.Hour)}, 0},
			"until":          {herald.ChangeFilter{Actor: herald.ActorKey, Until: time.Now().Add(time.Hour)}, 6},
			"until that day": {herald.ChangeFilter{Until: began.Add(-time.Hour)}, 0},
		} {
			for _, search := range []int{searchLimit, 1} { // with 1, every part of a search ends early
				f.searchLimit = search
				want := all(test.filter, 100)
				if len(want) != test.want {
					t.Errorf("%s: %d found, want %d", name, len(want), test.want)
				}
				for _, limit := range []int{1, 2, 7} {
					if diff := cmp.Diff(want, all(test.filter, limit)); diff != "" {
						t.Errorf("%s in pages of %d (-want +got):\n%s", name, limit, diff)
					}
				}
			}
		}
	})
}
