package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"herald"
	"herald/internal/test/postgres"
)

func (f *fixture) search(text string) (names []string) {
	f.t.Helper()
	found, next, err := f.Clients(f.t.Context(), herald.ClientFilter{Search: text, Limit: 100})
	if err != nil || next != uuid.Nil {
		f.t.Fatalf("search %q: next %v, %v", text, next, err)
	}
	for _, c := range found {
		names = append(names, c.Profile.Name)
	}
	return names
}

func TestClientsAreFoundByNameAndID(t *testing.T) { onBoth(t, testClientsAreFoundByNameAndID) }

func testClientsAreFoundByNameAndID(t *testing.T, f *fixture) {
	odd := `100% of O'Brien_\ "x" <b>`
	var ids []uuid.UUID
	for _, name := range []string{"Société Générale", "ÉCOLE élan Übér", "Компания Ромашка", "日本製鉄", "İstanbul Kebap", "Straße", odd, "gone"} {
		ids = append(ids, f.newClient(name).ID)
	}
	if err := f.DeleteClient(t.Context(), operator, ids[7]); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"acme": {"Acme"}, " ACME ": {"Acme"}, "cm": {"Acme"}, "acme inc": nil,
		"SOCIÉTÉ GÉN": {"Société Générale"}, "école Élan ÜBÉR": {"ÉCOLE élan Übér"}, "éc": {"ÉCOLE élan Übér"},
		"КОМПАНИЯ ромашка": {"Компания Ромашка"}, "ромашка компания": nil, "製": {"日本製鉄"}, "kebap": {"İstanbul Kebap"}, "STRASSE": nil, "straße": {"Straße"},
		"%": {odd}, "_": {odd}, `\`: {odd}, "'": {odd}, `"X" <B>`: {odd}, "gone": nil, "": {odd, "Straße", "İstanbul Kebap", "日本製鉄", "Компания Ромашка", "ÉCOLE élan Übér", "Société Générale", "Acme"},
		ids[3].String(): {"日本製鉄"}, strings.ToUpper(ids[3].String()): {"日本製鉄"}, strings.ReplaceAll(ids[3].String(), "-", ""): {"日本製鉄"},
		ids[3].String()[:35]: {"日本製鉄"}, ids[7].String(): nil, uuid.NewString(): nil, ids[3].String()[:7]: nil, ids[3].String() + "0": nil,
	} {
		if got := f.search(text); !slices.Equal(got, want) {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"a\x00b", "\xff", strings.Repeat("é", herald.MaxClientSearch+1)} {
		_, _, err := f.Clients(t.Context(), herald.ClientFilter{Search: text, Limit: 1})
		wantCode(t, err, herald.CodeInvalid)
	}
}

// TestPagesOfASearchHaveEachClientOnce, whatever the pages' size, and however few clients a call searches.
func TestPagesOfASearchHaveEachClientOnce(t *testing.T) {
	onBoth(t, testPagesOfASearchHaveEachClientOnce)
}

func testPagesOfASearchHaveEachClientOnce(t *testing.T, f *fixture) {
	var want []uuid.UUID
	for i := range 40 {
		name := "Other"
		if i%3 == 0 {
			name = fmt.Sprintf("Élan %d", i)
		}
		if c := f.newClient(name); name != "Other" {
			want = append(want, c.ID)
		}
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 5, 100} {
		for _, searched := range []int{1, 7, clientSearchLimit} {
			f.clientSearchLimit = searched
			var got []uuid.UUID
			calls, q := 0, herald.ClientFilter{Search: "élan", Limit: limit}
			for ; calls < 100; calls++ {
				found, next, err := f.Clients(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range found {
					got = append(got, c.ID)
				}
				if q.After = next; len(found) == limit {
					q.After = found[limit-1].ID
				} else if next == uuid.Nil {
					break
				}
			}
			if !slices.Equal(got, want) || searched < 10 && calls < 40/searched {
				t.Errorf("pages of %d, %d searched at once: found %d in %d calls, want %d", limit, searched, len(got), calls, len(want))
			}
		}
	}
}

// FuzzClientSearch: the condition for the database leaves out no client that the search finds.
func FuzzClientSearch(f *testing.F) {
	for _, seed := range [][2]string{{"Société", "SOCIÉTÉ"}, {"K", "k"}, {"ſ", "S"}, {"ΣΑΣ", "σας"}, {"a ǅ b", "Ǆ"}, {"0195f2c0", "0195F2C0"}} {
		f.Add(seed[0], seed[1])
	}
	lower := func(text string) string { // of both databases
		return strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return unicode.ToLower(r)
			}
			return r
		}, text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if herald.CheckClientName(name) != nil || herald.CheckClientSearch(text) != nil {
			t.Skip()
		}
		s := parseClientSearch(text)
		s.beginsID = false // ids have a condition of their own
		for _, cases := range s.parts {
			has := slices.ContainsFunc(cases, func(part string) bool { return strings.Contains(lower(name), part) })
			if c := (herald.Client{Profile: herald.Profile{Name: name}}); !has && s.meets(c) {
				t.Fatalf("%q is found by %q, and has none of %q", name, text, cases)
			}
		}
	})
}

// BenchmarkClients measures pages of the list of 100,000 clients.
func BenchmarkClients(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		b.Run(database, func(b *testing.B) {
			o := Options{Box: testBox(b)}
			if o.Dir = b.TempDir(); database == "postgres" {
				o.Dir, o.Database = "", postgres.Database(b)
			}
			s, err := Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close() //nolint:errcheck // nothing was written
			tx, err := s.write.BeginTx(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			var one uuid.UUID
			for i := 0; i < 100_000; {
				var c conditions
				for range 1000 {
					id := s.ids.NewEvent()
					if i++; i == 60_000 {
						one = id
					}
					c.add("(%s, %s, %s, 1, %s)", id, fmt.Sprintf("Société %06d of Example Holdings & Partners", i),
						[]byte(`{"redirectUrl":"https://example.com/back","whiteListUrls":["https://example.com"]}`), make([]byte, 120))
				}
				if _, err := tx.ExecContext(b.Context(), `INSERT INTO clients (id, name, profile, version, auth) VALUES `+c.list(), c.args...); err != nil {
					b.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
			for name, q := range map[string]herald.ClientFilter{
				"all": {}, "last page": {After: one}, "every name": {Search: "société"}, "one name": {Search: "SOCIÉTÉ 090123 OF"}, "no name": {Search: "nothing like it"},
				"no name in Cyrillic": {Search: "ромашка"}, "no name in Latin": {Search: "éàü"}, "id": {Search: one.String()}, "no id": {Search: uuid.NewString()},
			} {
				b.Run(name, func(b *testing.B) {
					q.Limit = 51
					for b.Loop() {
						if _, _, err := s.Clients(b.Context(), q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
