package store

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

const (
	// recordedRevisions is how far rule_changes reaches back. The triggers of migration 15 have the number too.
	recordedRevisions = 1000
	// statePage is how many rules are read at once. A read of all 100,000 rules of a client would take longer
	// than readDeadline on a busy machine.
	statePage = 5000
)

// ClientState reads a client at its present revision. If since is a revision of it, the state has the rules that
// have changed since then. It has the first rules instead if since is 0, or if more has changed than is on record;
// RulesAfter reads the others. The error is CodeNotFound when there is no such client.
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
		clients []herald.Client
		changed []uuid.UUID
	)
	readings := []reading{
		{clientSQL, []any{id[:]}, into(&clients, s.scanClient)},
		{`SELECT id FROM keys WHERE client_id = $1`, []any{id[:]}, into(&state.KeyIDs, scanID[row])},
		{unsubscribedSQL, []any{id[:]}, into(&state.Unsubscribed, scanUnsubscribed[row])},
		{eventTypesSQL, nil, into(&state.EventTypes, scanEventType[row])},
	}
	scanRules := into(&state.Rules, scanRule[row])
	if since == 0 {
		readings = append(readings, reading{rulesAfterSQL, []any{id[:], uuid.Nil[:], statePage}, scanRules})
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
		state.More = len(state.Rules) == statePage
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

	rulesAfterSQL = `SELECT ` + ruleColumns + ` FROM rules WHERE client_id = $1 AND id > $2 ORDER BY id LIMIT $3`
)

// RulesAfter returns a client's next rules after one, in the order of their ids, and whether there are more.
func (s *Store) RulesAfter(ctx context.Context, client, after uuid.UUID) (rules []herald.Rule, more bool, err error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	rules, err = list(ctx, s.read, scanRule, rulesAfterSQL, client[:], after[:], statePage)
	return rules, len(rules) == statePage, s.failed("read a client's rules", err)
}
