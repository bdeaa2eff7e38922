package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/work"
)

func (f *fixture) stateSince(revision int64) work.ClientState {
	f.t.Helper()
	state, err := f.ClientState(f.t.Context(), f.client.ID, revision)
	if err != nil {
		f.t.Fatal(err)
	}
	return state
}

// apply returns the rules after the changes of a state.
func apply(rules map[uuid.UUID]herald.Rule, state work.ClientState) map[uuid.UUID]herald.Rule {
	if state.Since == 0 {
		rules = make(map[uuid.UUID]herald.Rule)
	}
	for _, id := range state.Deleted {
		delete(rules, id)
	}
	for _, r := range state.Rules {
		rules[r.ID] = r
	}
	return rules
}

func (f *fixture) checkTotals() {
	f.t.Helper()
	type totals struct{ n, bytes int }
	kept := totals{}
	if err := f.write.QueryRowContext(f.t.Context(), `SELECT rules, bytes FROM rule_totals WHERE client_id = $1`, f.client.ID[:]).Scan(&kept.n, &kept.bytes); err != nil {
		f.t.Fatal(err)
	}
	counted := totals{}
	if err := f.write.QueryRowContext(f.t.Context(), `SELECT count(*), coalesce(sum(octet_length(posted_type) + octet_length(webhook) + octet_length(emails)), 0)
FROM rules WHERE client_id = $1`, f.client.ID[:]).Scan(&counted.n, &counted.bytes); err != nil {
		f.t.Fatal(err)
	}
	if kept != counted {
		f.t.Errorf("the totals of rules are %+v, want the counted %+v", kept, counted)
	}
}

// TestChangesOfRulesAreWhole: whatever changes a client, the rules that a node knows and those that have changed
// since are all of its rules. A state has no others, and the totals are those of a count.
func TestChangesOfRulesAreWhole(t *testing.T) { onBoth(t, testChangesOfRulesAreWhole) }

func testChangesOfRulesAreWhole(t *testing.T, f *fixture) {
	random := rand.New(rand.NewPCG(1, 2))
	first := f.stateSince(0)
	known := apply(nil, first)
	revision := first.Client.Revision
	other := f.newClient("Other")
	var ids []uuid.UUID
	for range 60 {
		kind := random.IntN(7)
		if len(ids) == 0 {
			kind = 0
		}
		r := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: "Sync Failed", PostedType: "sync-failed", CompanyID: herald.NewID(), Webhook: fmt.Sprint("https://r.example/", random.IntN(2000))}
		var err error
		switch kind {
		case 0, 1:
			err = f.CreateRule(t.Context(), operator, r)
			ids = append(ids, r.ID)
		case 2:
			r.ID, r.Emails = ids[random.IntN(len(ids))], []string{"a@acme.example"}
			_, err = f.UpdateRule(t.Context(), operator, r)
		case 3:
			i := random.IntN(len(ids))
			err = f.DeleteRule(t.Context(), operator, f.client.ID, ids[i])
			ids = slices.Delete(ids, i, i+1)
		case 4:
			err = f.SetRuleAuthorization(t.Context(), operator, f.client.ID, ids[random.IntN(len(ids))], random.IntN(2) == 0)
		case 5:
			err = f.SetNotifications(t.Context(), operator, f.client.ID, herald.Notifications{On: true, AfterMinutes: 5, Webhooks: []string{r.Webhook}})
		case 6:
			err = f.RenameClient(t.Context(), operator, f.client.ID, r.Webhook)
			f.newRule(other) // concerns nobody else
		}
		if err != nil {
			t.Fatal(err)
		}
		if random.IntN(3) > 0 {
			continue // several changes are read together
		}
		state := f.stateSince(revision)
		if state.Since != revision {
			t.Fatalf("the state since revision %d is whole, want the changes", revision)
		}
		if n := len(state.Rules) + len(state.Deleted); n > 40 {
			t.Errorf("%d rules are read for a few changes", n)
		}
		known, revision = apply(known, state), state.Client.Revision
		if diff := cmp.Diff(apply(nil, f.stateSince(0)), known); diff != "" {
			t.Fatalf("rules (-all +known):\n%s", diff)
		}
		f.checkTotals()
	}
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := first1(f, `SELECT (SELECT count(*) FROM rule_changes WHERE client_id = $1) + (SELECT count(*) FROM rule_totals WHERE client_id = $1)`); err != nil || n != 0 {
		t.Errorf("%d rows are left of a deleted client (%v)", n, err)
	}
}

func first1(f *fixture, text string) (int64, error) {
	return first(f.t.Context(), f.write, scanInt, text, f.client.ID[:])
}

// TestRecordOfChangesIsBounded: what is older than the record is read as a whole, and so is a change of more rules
// than are on record. The record does not grow.
func TestRecordOfChangesIsBounded(t *testing.T) { onBoth(t, testRecordOfChangesIsBounded) }

func testRecordOfChangesIsBounded(t *testing.T, f *fixture) {
	before := f.stateSince(0).Client.Revision
	f.newRule(f.client)
	if state := f.stateSince(before); state.Since != before || len(state.Rules) != 1 {
		t.Errorf("since %d: %d rules since %d, want the new one", before, len(state.Rules), state.Since)
	}
	for _, since := range []int64{before + 2, before + 1000, -1} { // of another database, before a restore
		if state := f.stateSince(since); state.Since != 0 || len(state.Rules) != 2 {
			t.Errorf("since %d: %d rules since %d, want all", since, len(state.Rules), state.Since)
		}
	}
	f.exec(`UPDATE clients SET version = version + 998 WHERE id = $1`, f.client.ID[:])
	f.newRule(f.client)
	if state := f.stateSince(before); state.Since != before || len(state.Rules) != 2 {
		t.Errorf("1,000 revisions later: %d rules since %d, want the two new ones", len(state.Rules), state.Since)
	}
	f.newRule(f.client)
	if state := f.stateSince(before); state.Since != 0 || len(state.Rules) != 4 {
		t.Errorf("1,001 revisions later: %d rules since %d, want all", len(state.Rules), state.Since)
	}
	if n, err := first1(f, `SELECT count(*) FROM rule_changes WHERE client_id = $1`); err != nil || n != 2 {
		t.Errorf("%d changes are on record (%v), want those of the last 1,000 revisions", n, err)
	}
	now := f.stateSince(0).Client.Revision
	f.exec(`UPDATE clients SET version = version + 1 WHERE id = $1`, f.client.ID[:])
	f.addManyRules(1001)
	if state := f.stateSince(now); state.Since != 0 || len(state.Rules) != 0 || state.Many != 1005 {
		t.Errorf("after 1,001 new rules: %d of %d rules since %d, want none of 1,005", len(state.Rules), state.Many, state.Since)
	}
	f.checkTotals()
}

// addManyRules adds rules in one statement.
func (f *fixture) addManyRules(n int) {
	f.t.Helper()
	id := `unhex(printf('%032x', n))`
	if f.Shared() {
		id = `lpad(to_hex(n), 32, '0')::uuid`
	}
	f.exec(`WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2)
INSERT INTO rules (`+ruleColumns+`) SELECT `+id+`, $1, 'Sync Failed', 'Sync Failed', NULL, '', '[]', true FROM numbers`, f.client.ID[:], n)
}

// changingPages is a store on which rules change while the pages of the rules are read.
type changingPages struct {
	*fixture
	pages int
}

func (c *changingPages) RulesAfter(ctx context.Context, client, after uuid.UUID) ([]herald.Rule, bool, error) {
	c.pages++
	if c.pages == 2 {
		c.rule.Webhook = "https://new.example/"
		if _, err := c.UpdateRule(ctx, operator, c.rule); err != nil {
			return nil, false, err
		}
		if err := c.DeleteRule(ctx, operator, client, after); err != nil { // one that was read already
			return nil, false, err
		}
		c.newRule(c.client)
	}
	return c.Store.RulesAfter(ctx, client, after)
}

// TestManyRulesAreReadInParts: no read of a client with many rules takes long, and what changes between two of
// them is not lost.
func TestManyRulesAreReadInParts(t *testing.T) { onBoth(t, testManyRulesAreReadInParts) }

func testManyRulesAreReadInParts(t *testing.T, f *fixture) {
	f.options.MaxRules = 100_000
	f.addManyRules(2 * statePage)
	store := &changingPages{fixture: f}
	cache, err := clientcache.New(store, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := cache.Whole(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[uuid.UUID]herald.Rule)
	for r := range client.AllRules() {
		got[r.ID] = r
	}
	all, err := list(t.Context(), f.read, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1`, f.client.ID[:])
	if err != nil {
		t.Fatal(err)
	}
	want := apply(nil, work.ClientState{Rules: all})
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 2*statePage+1 {
		t.Errorf("%d rules, want %d (-want +got):\n%s", len(got), len(want), diff)
	}
	if version, err := f.Version(t.Context(), f.client.ID); err != nil || client.Version != version {
		t.Errorf("the client is at version %d, want the present one, %d (%v)", client.Version, version, err)
	}
	if store.pages < 3 {
		t.Errorf("%d parts were read, want 3", store.pages)
	}
}

// TestRulesOfBeforeAreCounted: the migration counts the rules that there are, and from then on the database itself
// records changes by binaries that do not know the tables.
func TestRulesOfBeforeAreCounted(t *testing.T) { onBoth(t, testRulesOfBeforeAreCounted) }

func testRulesOfBeforeAreCounted(t *testing.T, f *fixture) {
	f.addManyRules(10)
	deleted := f.newClient("Deleted")
	f.newRule(deleted)
	if err := f.DeleteClient(t.Context(), operator, deleted.ID); err != nil {
		t.Fatal(err)
	}
	if f.Shared() {
		f.exec(`DROP TRIGGER rules_added ON rules; DROP TRIGGER rules_changed ON rules; DROP TRIGGER rules_deleted ON rules; DROP FUNCTION note_rule_changes; DROP FUNCTION note_rules`)
	} else {
		f.exec(`DROP TRIGGER rule_added; DROP TRIGGER rule_changed; DROP TRIGGER rule_deleted`)
	}
	f.exec(`DROP TABLE rule_changes`)
	f.exec(`DROP TABLE rule_totals`)
	f.exec(`DROP INDEX rules_by_event`)
	f.exec(`ALTER TABLE issues DROP COLUMN unused`) // of a later migration
	f.exec(`DELETE FROM goose_db_version WHERE version_id >= 15`)
	f.exec(`UPDATE rules SET webhook = 'https://before.example/' WHERE id = $1`, f.rule.ID[:])
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.Store, err = Open(t.Context(), f.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) //nolint:errcheck // the test is over
	f.checkTotals()
	if n, err := first(t.Context(), f.write, scanInt, `SELECT count(*) FROM rule_totals`); err != nil || n != 1 {
		t.Errorf("%d clients have totals (%v), want 1", n, err)
	}
	revision := f.stateSince(0).Client.Revision
	f.exec(`UPDATE clients SET version = version + 1 WHERE id = $1`, f.client.ID[:])
	f.exec(`UPDATE rules SET webhook = 'https://after.example/' WHERE id = $1`, f.rule.ID[:])
	f.checkTotals()
	if state := f.stateSince(revision); state.Since != revision || len(state.Rules) != 1 || state.Rules[0].Webhook != "https://after.example/" {
		t.Errorf("%+v, want the changed rule alone", state.Rules)
	}
}

// TestTheDatabaseFindsTheRulesThatAnEventMeets: for a client with many rules, which are not all read, the same rules
// match as when all are read, in the same order. They are those that Meets finds.
func TestTheDatabaseFindsTheRulesThatAnEventMeets(t *testing.T) {
	onBoth(t, testTheDatabaseFindsTheRulesThatAnEventMeets)
}

func testTheDatabaseFindsTheRulesThatAnEventMeets(t *testing.T, f *fixture) {
	random := rand.New(rand.NewPCG(3, 4))
	types, companies := []string{"Sync Failed", "Sync Completed", "sync failed"}, []uuid.UUID{uuid.Nil, uuid.New(), uuid.New(), uuid.New()}
	var all []herald.Rule
	for n := range 2 * fewRules {
		r := herald.Rule{ID: herald.NewID(), ClientID: f.client.ID, Type: types[random.IntN(len(types))], PostedType: "posted", CompanyID: companies[random.IntN(len(companies))], Webhook: fmt.Sprint("https://r.example/", n)}
		if n%20 == 0 {
			r.ClientID = f.newClient(fmt.Sprint("Other ", n)).ID
		}
		all = append(all, r)
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	err := f.inTransaction(t.Context(), "add rules", func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range all {
			if err := f.addRule(ctx, tx, operator, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, f.rule)
	cache, err := clientcache.New(f.Store, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := cache.Get(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range first.AllRules() {
		t.Fatal("the client was read with its many rules")
	}
	whole, err := cache.Whole(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, eventType := range append(types, "unknown") {
		for _, company := range append(companies, uuid.New()) {
			var want []uuid.UUID
			for _, r := range all {
				if r.Meets(herald.Event{ClientID: f.client.ID, Type: eventType, CompanyID: company}) {
					want = append(want, r.ID)
				}
			}
			slices.SortFunc(want, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
			for how, client := range map[string]*clientcache.Snapshot{"found": first, "whole": whole} {
				met, err := client.Matching(t.Context(), eventType, company)
				if err != nil {
					t.Fatal(err)
				}
				var got []uuid.UUID
				for _, r := range met {
					got = append(got, r.ID)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: an event of %s about %s (-want +got):\n%s", how, eventType, company, diff)
				}
			}
			has, err := first.HasRules(t.Context(), eventType)
			if known, _ := whole.HasRules(t.Context(), eventType); err != nil || has != known {
				t.Errorf("the client has rules of %s: %v, %v; want %v", eventType, has, err, known)
			}
		}
	}
	for _, id := range []uuid.UUID{f.rule.ID, uuid.New(), all[0].ID, all[1].ID} {
		found, err := first.Rule(t.Context(), id)
		known, wanted := whole.Rule(t.Context(), id)
		if herald.CodeOf(err) != herald.CodeOf(wanted) || err == nil && !cmp.Equal(found.Rule, known.Rule) {
			t.Errorf("rule %s: %v, want as in the whole client: %v", id, err, wanted)
		}
	}
}

// TestFindingRulesReadsNoOthers: the database finds the rules that an event meets by an index.
func TestFindingRulesReadsNoOthers(t *testing.T) { onBoth(t, testFindingRulesReadsNoOthers) }

func testFindingRulesReadsNoOthers(t *testing.T, f *fixture) {
	f.addManyRules(20_000)
	f.exec(`UPDATE rules SET company_id = id`)
	if f.Shared() {
		f.exec(`ANALYZE rules`)
	}
	explain := `EXPLAIN QUERY PLAN `
	if f.Shared() {
		explain = `EXPLAIN `
	}
	plan, err := list(t.Context(), f.read, func(rows *sql.Rows) (line string, err error) {
		columns, err := rows.Columns()
		if err != nil {
			return "", err
		}
		to := make([]any, len(columns))
		for i := range to {
			to[i] = new(any)
		}
		to[len(to)-1] = &line
		return line, rows.Scan(to...)
	}, explain+f.matchingSQL(true), f.client.ID[:], "Sync Failed", 10, f.rule.ID[:])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(plan, "\n")
	if n := strings.Count(text, "rules_by_event"); n != 2 || !strings.Contains(strings.ToLower(text), "company_id") {
		t.Errorf("the index is used %d times, want 2:\n%s", n, text)
	}
}
