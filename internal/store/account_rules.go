package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/work"
)

const ruleColumns = `id, client_id, type, posted_type, company_id, webhook, emails, send_auth`

func scanRule[R row](rows R) (herald.Rule, error) {
	var (
		r        herald.Rule
		emails   string
		sendAuth bool
	)
	if err := rows.Scan(&r.ID, &r.ClientID, &r.Type, &r.PostedType, &r.CompanyID, &r.Webhook, &emails, &sendAuth); err != nil {
		return r, err
	}
	r.WithoutAuthorization = !sendAuth
	if err := json.Unmarshal([]byte(emails), &r.Emails); err != nil {
		return r, fmt.Errorf("emails of rule %s: %w", r.ID, err)
	}
	return r, nil
}

func encodeEmails(emails []string) (string, error) {
	if emails == nil {
		emails = []string{}
	}
	text, err := json.Marshal(emails)
	return string(text), err
}

func noRule(id uuid.UUID) error {
	return herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", id)
}

// Rules returns a page of a client's rules and the number of all that match. Unless
// company is uuid.Nil, only the rules bound to it match.
func (s *Store) Rules(ctx context.Context, client, company uuid.UUID, l query.List) ([]herald.Rule, int, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	c := conditions{columns: map[string]string{
		"id": "id", "type": "posted_type", "companyId": "company_id", "notifiers.webhook": "webhook",
	}}
	c.add("client_id = %s", client)
	if company != uuid.Nil {
		c.add("company_id = %s", company)
	}
	c.addQuery(l.Where)
	total, err := first(ctx, s.lists, scanInt, `SELECT count(*) FROM rules WHERE `+c.where(), c.args...)
	if err != nil {
		return nil, 0, s.failed("count rules", err)
	}
	text := `SELECT ` + ruleColumns + ` FROM rules WHERE ` + c.where() + ` ORDER BY ` + c.orderBy(l.Order) +
		` LIMIT ` + c.bind(l.PageSize) + ` OFFSET ` + c.bind(l.Offset())
	var page pageBytes
	rules, err := list(ctx, s.lists, func(rows *sql.Rows) (herald.Rule, error) {
		r, err := scanRule(rows)
		if !page.add(ruleSize(r)) {
			r = herald.Rule{}
		}
		return r, err
	}, text, c.args...)
	if err == nil {
		err = page.reserve(ctx)
	}
	return rules, int(total), s.failed("list rules", err)
}

func ruleSize(r herald.Rule) int {
	size := work.RowSize + len(r.PostedType) + len(r.Webhook)
	for _, element := range r.Emails {
		size += len(element)
	}
	return size
}

// Rule returns a client's rule. The error is CodeNotFound when there is none.
func (s *Store) Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Rule{}, err
	}
	defer done()
	r, err := readRule(ctx, s.lists, client, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, noRule(id)
	}
	return r, s.failed("read a rule", err)
}

// Limits on the rules of one client.
const (
	// DefaultMaxRules is how many rules a client may have.
	DefaultMaxRules = 10_000
	// maxRulesBytes bounds the texts of a client's rules, in bytes: 1.6 KB for each of 10,000.
	maxRulesBytes = 16 << 20
)

// rulesTotal returns how many rules a client has, and the bytes of their texts. Triggers keep both, because
// counting 100,000 rules for each change would hold up the writer.
func rulesTotal(ctx context.Context, tx *sql.Tx, client uuid.UUID) (n, bytes int, err error) {
	err = tx.QueryRowContext(ctx, rulesTotalSQL, client[:]).Scan(&n, &bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil
	}
	return n, bytes, err
}

const rulesTotalSQL = `SELECT rules, bytes FROM rule_totals WHERE client_id = $1`

func tooManyBytesOfRules(bytes int) error {
	return herald.Errorf(herald.CodeConflict, "The client's rules would have %d bytes of text, and they can have at most %d. Delete rules that are not needed, or name fewer mailboxes.",
		bytes, maxRulesBytes)
}

// CreateRule stores a new rule under the id it has. It applies to events published
// after it returns. The error is CodeNotFound when there is no such client, and CodeConflict
// when the client has Options.MaxRules rules or too many bytes of them.
func (s *Store) CreateRule(ctx context.Context, by herald.Caller, r herald.Rule) error {
	return s.changeClient(ctx, r.ClientID, "create a rule", func(ctx context.Context, tx *sql.Tx) error {
		return s.addRule(ctx, tx, by, r)
	})
}

func (s *Store) addRule(ctx context.Context, tx *sql.Tx, by herald.Caller, r herald.Rule) error {
	emails, err := encodeEmails(r.Emails)
	if err != nil {
		return fmt.Errorf("encode a rule's emails: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO rules (`+ruleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		r.ID[:], r.ClientID[:], r.Type, r.PostedType, idOrNull(r.CompanyID), r.Webhook, emails, !r.WithoutAuthorization)
	if err != nil {
		return err
	}
	switch n, bytes, err := rulesTotal(ctx, tx, r.ClientID); {
	case err != nil:
		return err
	case n > s.options.MaxRules:
		return herald.Errorf(herald.CodeConflict, "The client has %d rules, and a client can have at most %d (--max-rules). Delete rules that are not needed.", n-1, s.options.MaxRules)
	case bytes > maxRulesBytes:
		return tooManyBytesOfRules(bytes)
	}
	return s.audit(ctx, tx, by, auditEntry{r.ClientID, herald.RuleCreated, r.ID.String(), nil, auditRule(r)})
}

// UpdateRule replaces a rule's type, company and notifiers and returns the updated rule.
// It does not change WithoutAuthorization. The error is CodeNotFound when there is no
// such rule, and CodeConflict when the client's rules would have too many bytes.
func (s *Store) UpdateRule(ctx context.Context, by herald.Caller, r herald.Rule) (herald.Rule, error) {
	emails, err := encodeEmails(r.Emails)
	if err != nil {
		return r, fmt.Errorf("encode a rule's emails: %w", err)
	}
	var updated herald.Rule
	err = s.changeRule(ctx, by, herald.RuleUpdated, r.ClientID, r.ID, s.changeClient, func(ctx context.Context, tx *sql.Tx) error {
		_, before, err := rulesTotal(ctx, tx, r.ClientID)
		if err != nil {
			return err
		}
		updated, err = first(ctx, tx, scanRule, `UPDATE rules SET type = $1, posted_type = $2, company_id = $3, webhook = $4, emails = $5
WHERE client_id = $6 AND id = $7 RETURNING `+ruleColumns,
			r.Type, r.PostedType, idOrNull(r.CompanyID), r.Webhook, emails, r.ClientID[:], r.ID[:])
		if err != nil {
			return err
		}
		_, after, err := rulesTotal(ctx, tx, r.ClientID)
		if err == nil && after > max(before, maxRulesBytes) { // a client may make its rules smaller at any time
			return tooManyBytesOfRules(after)
		}
		return err
	})
	return updated, err
}

// SetRuleAuthorization switches the client's Authorization header on or off for one
// rule. The error is CodeNotFound when there is no such rule.
func (s *Store) SetRuleAuthorization(ctx context.Context, by herald.Caller, client, rule uuid.UUID, send bool) error {
	return s.changeRule(ctx, by, herald.RuleUpdated, client, rule, s.changeSettings, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE rules SET send_auth = $1 WHERE client_id = $2 AND id = $3`, send, client[:], rule[:])
		return err
	})
}

// DeleteRule deletes a rule: events published after it returns raise no alert by it. The
// rule's alerts stay, and their pending deliveries are still made. The error is
// CodeNotFound when there is no such rule.
func (s *Store) DeleteRule(ctx context.Context, by herald.Caller, client, rule uuid.UUID) error {
	return s.changeRule(ctx, by, herald.RuleDeleted, client, rule, s.changeClient, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM rules WHERE client_id = $1 AND id = $2`, client[:], rule[:])
		return err
	})
}

// clientTransaction is changeClient or changeSettings.
type clientTransaction func(ctx context.Context, client uuid.UUID, doing string, fn change) error

// changeRule runs fn on a rule that exists, in a transaction of begin, and writes the rule
// before and after fn to the audit log.
func (s *Store) changeRule(ctx context.Context, by herald.Caller, action herald.Action, client, rule uuid.UUID, begin clientTransaction, fn change) error {
	var before herald.Rule
	err := begin(ctx, client, "change a rule", func(ctx context.Context, tx *sql.Tx) (err error) {
		before, err = readRule(ctx, tx, client, rule)
		if errors.Is(err, sql.ErrNoRows) {
			return noRule(rule)
		}
		if err == nil {
			err = fn(ctx, tx)
		}
		if err != nil {
			return err
		}
		entry := auditEntry{client: client, action: action, subject: rule.String(), before: auditRule(before)}
		switch after, err := readRule(ctx, tx, client, rule); {
		case err == nil:
			entry.after = auditRule(after)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		return s.audit(ctx, tx, by, entry)
	})
	if err == nil {
		s.endUnusedOf(ctx, client, receiversOf(before)...)
	}
	return err
}

func readRule(ctx context.Context, q querier, client, rule uuid.UUID) (herald.Rule, error) {
	return first(ctx, q, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1 AND id = $2`, client[:], rule[:])
}

// RulesWithEmails counts the rules of all clients that have e-mail notifiers.
func (s *Store) RulesWithEmails(ctx context.Context) (int, error) {
	n, err := first(ctx, s.read, scanInt, `SELECT count(*) FROM rules WHERE emails <> '[]'`)
	return int(n), s.failed("count rules with e-mail notifiers", err)
}
