package clientcache

import (
	"context"
	"iter"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/work"
)

// Snapshot is a client at one version. It never changes.
type Snapshot struct {
	herald.Client
	Catalogue *catalogue.Catalogue
	cache     *Cache
	rules     rules
	unread    int // if not 0: rules is empty, and this is about what they would take, in bytes
	keys      []uuid.UUID
	noMail    map[string]bool
}

// Matching, HasRules, Rule and Authorization may read the database: rules at the snapshot's version, or at a later one
// if the client has changed meanwhile. Then internal/store refuses what was prepared with them as stale.

// Matching returns the rules of an event type that an event about a company meets, in the order of their
// creation. They are those of which herald.Rule.Meets is true. If there are more than herald.MaxAlerts, it may
// return only one more.
func (s *Snapshot) Matching(ctx context.Context, eventType string, company uuid.UUID) ([]*Rule, error) {
	from, err := s.rulesOf(ctx, eventType, company, herald.MaxAlerts+1)
	return from.matching(eventType, company), err
}

// HasRules reports whether the client has rules of an event type.
func (s *Snapshot) HasRules(ctx context.Context, eventType string) (bool, error) {
	from, err := s.rulesOf(ctx, eventType, uuid.Nil, 1)
	return from.any(eventType), err
}

// rulesOf returns rules among which are those that an event meets, or limit of them.
func (s *Snapshot) rulesOf(ctx context.Context, eventType string, company uuid.UUID, limit int) (rules, error) {
	if s.unread == 0 {
		return s.rules, nil
	}
	found, err := s.cache.store.MatchingRules(ctx, s.ID, eventType, company, limit)
	s.cache.looked(s.ID, len(found))
	return newRules(found), err
}

// Rule returns a rule of the client. The error has CodeNotFound if there is none.
func (s *Snapshot) Rule(ctx context.Context, id uuid.UUID) (*Rule, error) {
	if s.unread > 0 {
		found, err := s.cache.store.RuleByID(ctx, s.ID, id)
		s.cache.looked(s.ID, 1)
		return NewRule(found), err
	}
	if r := s.rules.find(id); r != nil {
		return r, nil
	}
	return nil, herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", id)
}

// AllRules returns the rules of all event types, in the order of their creation. Only a snapshot of Cache.Whole is
// sure to have them.
func (s *Snapshot) AllRules() iter.Seq[herald.Rule] {
	return func(yield func(herald.Rule) bool) {
		for _, chunk := range s.rules.byID.chunks {
			for _, r := range chunk {
				if !yield(r.Rule) {
					return
				}
			}
		}
	}
}

// HasKey reports whether an API key of the client is valid.
func (s *Snapshot) HasKey(id uuid.UUID) bool { return slices.Contains(s.keys, id) }

// WantsMail is false if the reader of a mailbox has unsubscribed from the client's mail.
func (s *Snapshot) WantsMail(box string) bool {
	return len(s.noMail) == 0 || !s.noMail[herald.MailboxKey(box)]
}

// Authorization returns the Authorization header for a delivery of a rule to an address. It is
// empty if the rule sends no header. It is also empty if the rule has another address now or is
// deleted, so that a secret does not go to a former receiver.
func (s *Snapshot) Authorization(ctx context.Context, rule uuid.UUID, address string) (string, error) {
	if s.Profile.AlertAuthHeader == "" {
		return "", nil
	}
	r, err := s.Rule(ctx, rule)
	if s.unread > 0 && err == nil { // the rule may have its address since a change that the header is older than
		revision, err := s.cache.store.Revision(ctx, s.ID)
		if err != nil {
			return "", err
		}
		if revision != s.Revision {
			if s, err = s.cache.Current(ctx, s.ID); err != nil {
				return "", err
			}
			return s.Authorization(ctx, rule, address)
		}
	}
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound:
		return "", nil
	case err != nil || r.WithoutAuthorization || r.Webhook != address:
		return "", err
	}
	return s.Profile.AlertAuthHeader, nil
}

// newSnapshot returns a client with the rules that it has, unless it has too many to keep.
func (c *Cache) newSnapshot(state *work.ClientState, has rules) (*Snapshot, error) {
	types, err := c.catalogueOf(state.EventTypes)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Client: state.Client, Catalogue: types, cache: c, rules: has, unread: unreadBytes(state), keys: state.KeyIDs}
	if len(state.Unsubscribed) > 0 {
		s.noMail = make(map[string]bool, len(state.Unsubscribed))
	}
	for _, box := range state.Unsubscribed {
		s.noMail[herald.MailboxKey(box.Address)] = true
	}
	return s, nil
}

// size returns about how much memory the snapshot takes, in bytes. 700 are what a client takes in the cache that
// has one rule, without the rule.
func (s *Snapshot) size() int {
	size := 700 + len(s.Profile.Name) + len(s.Profile.LogoURL) + len(s.Profile.IconURL) + len(s.Profile.RedirectURL) +
		len(s.Profile.AlertAuthHeader) + len(s.keys)*len(uuid.UUID{}) + s.rules.bytes
	for _, address := range s.Profile.WhiteListURLs {
		size += 16 + len(address)
	}
	for box := range s.noMail {
		size += 48 + len(box)
	}
	return size
}
