package clientcache

import (
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
	rules     rules
	keys      []uuid.UUID
	noMail    map[string]bool
}

// Matching returns the rules of an event type that an event about a company meets, in the order of their
// creation. They are those of which herald.Rule.Meets is true.
func (s *Snapshot) Matching(eventType string, company uuid.UUID) []*Rule {
	return s.rules.matching(eventType, company)
}

// HasRules reports whether the client has rules of an event type.
func (s *Snapshot) HasRules(eventType string) bool { return s.rules.any(eventType) }

// Rule returns a rule of the client.
func (s *Snapshot) Rule(id uuid.UUID) (*Rule, bool) {
	r := s.rules.find(id)
	return r, r != nil
}

// AllRules returns the rules of all event types, in the order of their creation.
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
func (s *Snapshot) Authorization(rule uuid.UUID, address string) string {
	r := s.rules.find(rule)
	if r == nil || r.WithoutAuthorization || r.Webhook != address {
		return ""
	}
	return s.Profile.AlertAuthHeader
}

// newSnapshot returns a client with the rules that it has.
func newSnapshot(state *work.ClientState, has rules, types *catalogue.Catalogue) *Snapshot {
	s := &Snapshot{Client: state.Client, Catalogue: types, rules: has, keys: state.KeyIDs}
	if len(state.Unsubscribed) > 0 {
		s.noMail = make(map[string]bool, len(state.Unsubscribed))
	}
	for _, box := range state.Unsubscribed {
		s.noMail[herald.MailboxKey(box.Address)] = true
	}
	return s
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
