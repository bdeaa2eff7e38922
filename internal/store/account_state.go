package store

import (
	"context"
	"database/sql"
	"fmt"
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
	var state work.ClientState
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	err := s.snapshot(ctx, s.read, func(tx *sql.Tx) (err error) {
		if state, err = s.rulesState(ctx, tx, id, since); err != nil {
			return err
		}
		if state.KeyIDs, err = list(ctx, tx, scanID, `SELECT id FROM keys WHERE client_id = $1`, id[:]); err != nil {
			return err
		}
		if state.Unsubscribed, err = unsubscribed(ctx, tx, id); err != nil {
			return err
		}
		state.EventTypes, err = eventTypes(ctx, tx)
		return err
	})
	return state, s.failed("read a client", err)
}

// rulesState reads a client, and its rules as ClientState has them.
func (s *Store) rulesState(ctx context.Context, tx *sql.Tx, id uuid.UUID, since int64) (state work.ClientState, err error) {
	if state.Client, err = s.client(ctx, tx, id); err != nil {
		return state, err
	}
	if since > 0 && since <= state.Client.Revision && since >= state.Client.Revision-recordedRevisions {
		known, err := s.changedRules(ctx, tx, &state, since)
		if err != nil || known {
			return state, err
		}
	}
	state.Rules, err = rulesAfter(ctx, tx, id, uuid.Nil)
	state.More = len(state.Rules) == statePage
	return state, err
}

// changedRules sets the rules that have changed since a revision. It returns false if they are too many.
func (s *Store) changedRules(ctx context.Context, tx *sql.Tx, state *work.ClientState, since int64) (bool, error) {
	if since == state.Client.Revision {
		state.Since = since
		return true, nil
	}
	id := state.Client.ID
	changed, err := list(ctx, tx, scanID, `SELECT DISTINCT rule_id FROM rule_changes WHERE client_id = $1 AND revision > $2 ORDER BY rule_id LIMIT $3`,
		id[:], since, recordedRevisions+1)
	if err != nil || len(changed) > recordedRevisions {
		return false, err
	}
	state.Since = since
	if len(changed) == 0 {
		return true, nil
	}
	state.Rules, err = list(ctx, tx, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1 AND id IN (`+fmt.Sprintf(s.dialect.idList, "$2")+`) ORDER BY id`,
		id[:], jsonIDs(changed))
	for _, r := range state.Rules {
		changed = slices.DeleteFunc(changed, func(id uuid.UUID) bool { return id == r.ID })
	}
	state.Deleted = changed
	return true, err
}

// RulesAfter returns a client's next rules after one, in the order of their ids, and whether there are more.
func (s *Store) RulesAfter(ctx context.Context, client, after uuid.UUID) (rules []herald.Rule, more bool, err error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	rules, err = rulesAfter(ctx, s.read, client, after)
	return rules, len(rules) == statePage, s.failed("read a client's rules", err)
}

func rulesAfter(ctx context.Context, q querier, client, after uuid.UUID) ([]herald.Rule, error) {
	return list(ctx, q, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1 AND id > $2 ORDER BY id LIMIT $3`, client[:], after[:], statePage)
}
