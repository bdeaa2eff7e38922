package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

const (
	// clientSearchLimit is how many clients one call of Clients searches, those that are deleted included: SQLite
	// takes 1.5 µs for each.
	clientSearchLimit = 50_000
	// clientSearchPage is how many clients a search reads at once, after the first ones.
	clientSearchPage = 2000
	// maxSearchParts bounds the conditions of a search. Its longest parts say the most; the others are compared in Go.
	maxSearchParts = 4
	// minIDPart is how many digits an id's beginning has in a search. The first ones are the same for years.
	minIDPart = 8
)

// Clients lists up to f.Limit clients that meet f, newest first, with nothing of their profiles but the names. A
// search ends after clientSearchLimit clients: next is the After of the call that continues; uuid.Nil at the end.
// Errors: CodeInvalid for a text of herald.CheckClientSearch.
func (s *Store) Clients(ctx context.Context, f herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error) {
	f.Search = strings.TrimSpace(f.Search)
	if err := herald.CheckClientSearch(f.Search); err != nil {
		return nil, uuid.Nil, err
	}
	ctx, done, err := s.readTurn(ctx, uuid.Nil)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	if f.Search == "" {
		found, err = s.clientsBetween(ctx, f.After, uuid.Nil, f.Limit, clientSearch{})
		return found, uuid.Nil, s.failed("list clients", err)
	}
	found, next, err = s.searchClients(ctx, f)
	return found, next, s.failed("search the clients", err)
}

// clientsBetween lists up to limit clients that may meet a search: older than after, and down to last.
func (s *Store) clientsBetween(ctx context.Context, after, last uuid.UUID, limit int, search clientSearch) ([]herald.Client, error) {
	c := conditions{parts: []string{"deleted_at IS NULL"}}
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	if last != uuid.Nil {
		c.add("id >= %s", last)
	}
	search.addTo(&c, s.dialect.contains)
	return list(ctx, s.lists, func(rows *sql.Rows) (c herald.Client, err error) {
		err = rows.Scan(&c.ID, &c.Profile.Name, &c.Version, &c.Revision)
		return c, err
	}, `SELECT id, name, version, version + settings_version FROM clients WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(limit), c.args...)
}

func (s *Store) searchClients(ctx context.Context, f herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error) {
	// Where this call ends.
	c := conditions{parts: []string{"true"}}
	if f.After != uuid.Nil {
		c.add("id < %s", f.After)
	}
	last, err := first(ctx, s.lists, scanID, `SELECT id FROM clients WHERE `+c.where()+` ORDER BY id DESC LIMIT 1 OFFSET `+c.bind(s.clientSearchLimit-1), c.args...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, uuid.Nil, err
	}
	search := parseClientSearch(f.Search)
	for after, size := f.After, f.Limit; ; size = clientSearchPage { // most often the first ones are enough
		page, err := s.clientsBetween(ctx, after, last, size, search)
		if err != nil {
			return nil, uuid.Nil, err
		}
		for _, c := range page {
			if search.meets(c) {
				found = append(found, c)
			}
			if len(found) == f.Limit {
				return found, uuid.Nil, nil
			}
		}
		if len(page) < size {
			return found, last, nil
		}
		after = page[len(page)-1].ID
	}
}

// clientSearch is what a search looks for. Letters have many cases beyond ASCII, and the databases differ there. So
// the database selects by parts whose cases are few, and leaves out no client; meets decides.
type clientSearch struct {
	text string // folded, see fold
	// parts are parts of the text in all their cases: one of each is in every name that has the text.
	parts [][]string
	// from and to are the ids that begin like the text, if it is the beginning of an id.
	beginsID bool
	from, to uuid.UUID
	digits   string
}

func parseClientSearch(text string) clientSearch {
	s := clientSearch{text: strings.Map(fold, text)}
	run := ""
	add := func(cases ...string) {
		if cases[0] != "" {
			s.parts = append(s.parts, cases)
		}
	}
	for _, r := range s.text {
		if r < utf8.RuneSelf || unicode.SimpleFold(r) == r {
			run += string(r)
			continue
		}
		add(run)
		run = ""
		add(casesOf(r)...)
	}
	add(run)
	slices.SortStableFunc(s.parts, func(a, b []string) int { return len(b[0]) - len(a[0]) })
	s.parts = s.parts[:min(len(s.parts), maxSearchParts)]
	s.parseID(text)
	return s
}

// parseID finds out whether a text can be an id, or the beginning of one.
func (s *clientSearch) parseID(text string) {
	s.digits = strings.ToLower(strings.ReplaceAll(text, "-", ""))
	if len(s.digits) < minIDPart || len(s.digits) > 2*len(s.from) {
		return
	}
	missing := 2*len(s.from) - len(s.digits)
	low, err := hex.DecodeString(s.digits + strings.Repeat("0", missing))
	if err != nil {
		return
	}
	high, err := hex.DecodeString(s.digits + strings.Repeat("f", missing))
	if err != nil {
		return
	}
	s.beginsID, s.from, s.to = true, uuid.UUID(low), uuid.UUID(high)
}

// addTo adds the condition that every client meets which the search finds.
func (s *clientSearch) addTo(c *conditions, contains func(text, part string) string) {
	var all []string
	for _, cases := range s.parts {
		var one []string
		for _, part := range cases {
			one = append(one, contains("name", c.bind(part)))
		}
		all = append(all, "("+strings.Join(one, " OR ")+")")
	}
	if len(all) == 0 {
		return
	}
	text := strings.Join(all, " AND ")
	if s.beginsID {
		text = "(id >= " + c.bind(s.from) + " AND id <= " + c.bind(s.to) + " OR " + text + ")"
	}
	c.parts = append(c.parts, text)
}

// meets reports whether the search finds a client.
func (s *clientSearch) meets(c herald.Client) bool {
	return strings.Contains(strings.Map(fold, c.Profile.Name), s.text) ||
		s.beginsID && strings.HasPrefix(hex.EncodeToString(c.ID[:]), s.digits)
}

// fold returns one letter for all cases of a letter: the smallest. ASCII letters have no cases beyond ASCII, and are
// in lower case.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		return unicode.ToLower(r)
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		if other < utf8.RuneSelf {
			return r
		}
		least = min(least, other)
	}
	return least
}

// casesOf returns the cases of a letter beyond ASCII.
func casesOf(r rune) []string {
	cases := []string{string(r)}
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		if other >= utf8.RuneSelf {
			cases = append(cases, string(other))
		}
	}
	slices.Sort(cases)
	return cases
}
