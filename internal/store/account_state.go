package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

const (
	// recordedRevisions is how far rule_changes reaches back. The triggers of migration 15 have the number too.
	recordedRevisions = 1000
	// fewRules is how many rules are read with their client, in less than a millisecond.
	fewRules = 100
	// statePage is how many rules are read at once. A read of all 100,000 rules of a client would take longer
	// than readDeadline on a busy machine.
	statePage = 5000
)

// ClientState reads a client at its present revision. If since is a revision of it, the state has the rules that
// have changed since then. If since is 0, or if more has changed than is on record, it has all rules of a client with
// few of them, and none of another; RulesAfter and MatchingRules read those. The error is CodeNotFound when there is no such client.
func (s *Store) ClientState(ctx context.Context, id uuid.UUID, since int64) (work.ClientState, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	since = max(since, 0)
	state, err := s.clientState(ctx, id, since)
	if err == nil && since > 0 && state.Since != since {
		state, err = s.clientState(ctx, id, 0)
	}
	return state, s.failed("read a client", err)
}

// clientState is ClientState. If the changes since a revision are not on record, the state has Since 0 and no rules.
func (s *Store) clientState(ctx context.Context, id uuid.UUID, since int64) (state work.ClientState, err error) {
	var (
		clients          []herald.Client
		changed          []uuid.UUID
		rules, ruleBytes int // if since is 0
	)
	readings := []reading{
		{clientSQL, []any{id[:]}, into(&clients, s.scanClient)},
		{`SELECT id FROM keys WHERE client_id = $1`, []any{id[:]}, into(&state.KeyIDs, scanID[row])},
		{unsubscribedSQL, []any{id[:]}, into(&state.Unsubscribed, scanUnsubscribed[row])},
		{eventTypesSQL, nil, into(&state.EventTypes, scanEventType[row])},
	}
	scanRules := into(&state.Rules, scanRule[row])
	if since == 0 {
		readings = append(readings,
			reading{rulesTotalSQL, []any{id[:]}, func(r row) error { return r.Scan(&rules, &ruleBytes) }},
			reading{fewRulesSQL, []any{id[:], fewRules}, scanRules})
	} else {
		args := []any{id[:], since, recordedRevisions + 1}
		readings = append(readings, reading{changedSQL, args, into(&changed, scanID[row])}, reading{changedRulesSQL, args, scanRules})
	}
	if err = s.dialect.readTogether(ctx, s, readings); err != nil {
		return state, err
	}
	if len(clients) == 0 {
		return state, noClient(id)
	}
	state.Client = clients[0]
	revision := state.Client.Revision
	switch {
	case since == 0:
		if rules > fewRules {
			state.Many, state.RuleBytes = rules, ruleBytes
		}
	case since <= revision && since >= revision-recordedRevisions && len(changed) <= recordedRevisions:
		state.Since = since
		for _, r := range state.Rules {
			changed = slices.DeleteFunc(changed, func(id uuid.UUID) bool { return id == r.ID })
		}
		state.Deleted = changed
	default:
		state.Rules = nil
	}
	return state, nil
}

const (
	changedSQL = `SELECT DISTINCT rule_id FROM rule_changes WHERE client_id = $1 AND revision > $2 ORDER BY rule_id LIMIT $3`
	// changedRulesSQL are the rules of changedSQL that exist.
	changedRulesSQL = `SELECT ` + ruleColumns + ` FROM rules WHERE client_id = $1 AND id IN (` + changedSQL + `) ORDER BY id`

	// fewRulesSQL are all rules of a client, or none if there are more than $2.
	fewRulesSQL = `SELECT ` + ruleColumns + ` FROM rules WHERE client_id = $1 ORDER BY id
LIMIT coalesce((SELECT rules FROM rule_totals WHERE client_id = $1 AND rules <= $2), 0)`

	rulesAfterSQL = `SELECT ` + ruleColumns + ` FROM rules WHERE client_id = $1 AND id > $2 ORDER BY id LIMIT $3`
)

// RulesAfter returns a client's next rules after one, in the order of their ids, and whether there are more.
func (s *Store) RulesAfter(ctx context.Context, client, after uuid.UUID) (rules []herald.Rule, more bool, err error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	rules, err = list(ctx, s.read, scanRule, rulesAfterSQL, client[:], after[:], statePage)
	return rules, len(rules) == statePage, s.failed("read a client's rules", err)
}

// matchingSQL are up to $3 rules of a type: all or, about a company, those that an event about $4 meets. The latter has
// no OR, which would let the planner read all rules of the type.
func (s *Store) matchingSQL(aboutCompany bool) string {
	ofType := `SELECT ` + ruleColumns + ` FROM ` + s.dialect.rulesByEvent + ` WHERE client_id = $1 AND type = $2`
	if !aboutCompany {
		return ofType + ` LIMIT $3`
	}
	return ofType + ` AND company_id IS NULL UNION ALL ` + ofType + ` AND company_id = $4 LIMIT $3`
}

// MatchingRules returns up to limit rules of an event type that an event of a client about a company meets. Without a
// company it meets all of the type. They have no order.
func (s *Store) MatchingRules(ctx context.Context, client uuid.UUID, eventType string, company uuid.UUID, limit int) ([]herald.Rule, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	args := []any{client[:], eventType, limit}
	if company != uuid.Nil {
		args = append(args, company[:])
	}
	rules, err := list(ctx, s.read, scanRule, s.matchingSQL(company != uuid.Nil), args...)
	return rules, s.failed("read the rules that an event meets", err)
}

// RuleByID returns a client's rule. The error is CodeNotFound if there is none. Unlike Rule it does not wait behind
// lists.
func (s *Store) RuleByID(ctx context.Context, client, id uuid.UUID) (herald.Rule, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	r, err := readRule(ctx, s.read, client, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, noRule(id)
	}
	return r, s.failed("read a rule", err)
}
