package store

import (
	"bytes"
	"database/sql"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
	"herald/internal/test/postgres"
)

var (
	signedOperator = herald.Caller{Operator: true, OperatorKey: secret.Fingerprint("the operator's key")}
	formerOperator = herald.Caller{Operator: true, OperatorKey: secret.Fingerprint("the operator's former key")}
)

// keyOf makes an API key and returns the caller who has it.
func (f *fixture) keyOf(c herald.Client, role herald.Role) herald.Caller {
	f.t.Helper()
	k, _, err := f.CreateKey(f.t.Context(), operator, c.ID, "", role)
	if err != nil {
		f.t.Fatal(err)
	}
	return herald.Caller{Key: k}
}

// session makes a session of a caller, which must be found.
func (f *fixture) session(by herald.Caller) (token string) {
	f.t.Helper()
	token, err := f.CreateSession(f.t.Context(), by)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.Session(f.t.Context(), token, true); err != nil {
		f.t.Fatalf("a new session: %v", err)
	}
	return token
}

func (f *fixture) exec(text string, args ...any) {
	f.t.Helper()
	if _, err := f.write.ExecContext(f.t.Context(), text, args...); err != nil {
		f.t.Fatal(err)
	}
}

func wantEnded(t *testing.T, what string, s *Store, token string) {
	t.Helper()
	if _, err := s.Session(t.Context(), token, true); herald.CodeOf(err) != herald.CodeUnauthorized {
		t.Errorf("%s: the session is found (%v)", what, err)
	}
}

func TestSessionHasItsKey(t *testing.T) { onBoth(t, testSessionHasItsKey) }

func testSessionHasItsKey(t *testing.T, f *fixture) {
	f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
	by := f.keyOf(f.client, herald.Analyst)
	for _, by := range []herald.Caller{by, signedOperator} {
		token := f.session(by)
		got, err := f.Session(t.Context(), token, true)
		if err != nil || got.Caller != by || got.FromLink() {
			t.Errorf("session %+v (%v), want the caller %+v", got, err, by)
		}
		if life := got.EndsAt.Sub(got.MadeAt); life != herald.SessionLife {
			t.Errorf("it ends after %v", life)
		}
		hash := secret.HashToken(token)
		stored, err := list(t.Context(), f.read, scanBytes, `SELECT hash FROM sessions WHERE hash = $1`, hash[:])
		if err != nil || len(stored) != 1 || bytes.Contains(stored[0], []byte(token)) {
			t.Errorf("stored as %x (%v)", stored, err)
		}
	}
	wantEnded(t, "of no secret", f.Store, "")
	wantEnded(t, "of another secret", f.Store, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
}

// TestSessionEndsWithItsKey: on every node that shares the database, with nothing between them.
func TestSessionEndsWithItsKey(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, Options{Dir: t.TempDir(), OperatorKeys: [][32]byte{signedOperator.OperatorKey}})
		testSessionEndsWithItsKey(t, f, f.Store)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		o := Options{Database: postgres.Database(t), OperatorKeys: [][32]byte{signedOperator.OperatorKey}}
		f := newFixture(t, o)
		testSessionEndsWithItsKey(t, f, openAnother(t, o))
	})
}

func testSessionEndsWithItsKey(t *testing.T, f *fixture, other *Store) {
	for what, end := range map[string]func(herald.Client, herald.Caller, string) error{
		"the key is revoked": func(c herald.Client, by herald.Caller, _ string) error {
			return f.DeleteKey(t.Context(), operator, c.ID, by.Key.ID)
		},
		"the key's role changes": func(_ herald.Client, by herald.Caller, _ string) error {
			f.exec(`UPDATE keys SET role = 'analyst' WHERE id = $1`, by.Key.ID[:])
			return nil
		},
		"the client is deleted": func(c herald.Client, _ herald.Caller, _ string) error {
			return f.DeleteClient(t.Context(), operator, c.ID)
		},
		"signing out":            func(_ herald.Client, _ herald.Caller, token string) error { return f.EndSession(t.Context(), token) },
		"signing out everywhere": func(_ herald.Client, by herald.Caller, _ string) error { return f.EndSessions(t.Context(), by) },
		"not being used": func(_ herald.Client, by herald.Caller, _ string) error {
			f.exec(`UPDATE sessions SET used_at = $1 WHERE key_id = $2`, pastFor(herald.SessionIdle), by.Key.ID[:])
			return nil
		},
		"seven days": func(_ herald.Client, by herald.Caller, _ string) error {
			f.exec(`UPDATE sessions SET ends_at = $1 WHERE key_id = $2`, pastFor(0), by.Key.ID[:])
			return nil
		},
	} {
		c := f.newClient(what)
		by, neighbour := f.keyOf(c, herald.Developer), f.keyOf(f.client, herald.Developer)
		token, kept := f.session(by), f.session(neighbour)
		if _, err := other.Session(t.Context(), token, true); err != nil {
			t.Fatalf("%s: the other node does not know the session: %v", what, err)
		}
		if err := end(c, by, token); err != nil {
			t.Fatal(err)
		}
		wantEnded(t, what, f.Store, token)
		wantEnded(t, what+", on the other node", other, token)
		if _, err := other.Session(t.Context(), kept, true); err != nil {
			t.Errorf("%s ended another's session: %v", what, err)
		}
		if err := f.DeleteKey(t.Context(), operator, f.client.ID, neighbour.Key.ID); err != nil {
			t.Fatal(err)
		}
	}
	token := f.session(signedOperator)
	other.options.OperatorKeys = nil
	wantEnded(t, "a node without that operator's key", other, token)
	if token, err := f.CreateSession(t.Context(), formerOperator); err != nil {
		t.Error(err)
	} else {
		wantEnded(t, "an operator's key of before", f.Store, token)
	}
}

func TestUseOfASessionIsWrittenOnceAMinute(t *testing.T) { onBoth(t, testUseOfASession) }

func testUseOfASession(t *testing.T, f *fixture) {
	by := f.keyOf(f.client, herald.Developer)
	token := f.session(by)
	used := func() int64 {
		n, err := first(t.Context(), f.read, scanInt, `SELECT used_at FROM sessions WHERE key_id = $1`, by.Key.ID[:])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := used()
	if _, err := f.Session(t.Context(), token, true); err != nil || used() != before {
		t.Errorf("a use within the minute was written (%v)", err)
	}
	f.exec(`UPDATE sessions SET used_at = $1`, pastFor(useStep))
	before = used()
	if _, err := f.Session(t.Context(), token, false); err != nil || used() != before {
		t.Errorf("a page that refreshes itself counts as a use (%v)", err)
	}
	if _, err := f.Session(t.Context(), token, true); err != nil || used() <= before {
		t.Errorf("a use after a minute was not written: %d after %d (%v)", used(), before, err)
	}
}

func TestSessionsOfAKeyAreBounded(t *testing.T) { onBoth(t, testSessionsAreBounded) }

func testSessionsAreBounded(t *testing.T, f *fixture) {
	by := f.keyOf(f.client, herald.Developer)
	oldest := f.session(by)
	f.exec(`UPDATE sessions SET used_at = used_at - 1000000`)
	for range maxSessions {
		if _, err := f.CreateSession(t.Context(), by); err != nil {
			t.Fatal(err)
		}
	}
	n, err := first(t.Context(), f.read, scanInt, `SELECT count(*) FROM sessions`)
	if err != nil || n != maxSessions {
		t.Errorf("%d sessions (%v), want %d", n, err, maxSessions)
	}
	wantEnded(t, "the bound", f.Store, oldest)
	f.exec(`UPDATE sessions SET ends_at = 1`)
	if n, err := f.ExpireSessions(t.Context()); n != maxSessions || err != nil {
		t.Errorf("ExpireSessions = %d, %v", n, err)
	}
}

func TestPortalLinkSignsInOnce(t *testing.T) { onBoth(t, testPortalLinkSignsInOnce) }

func testPortalLinkSignsInOnce(t *testing.T, f *fixture) {
	f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
	link := func(life time.Duration) string {
		t.Helper()
		made, token, err := f.CreatePortalLink(t.Context(), signedOperator, herald.PortalLink{ClientID: f.client.ID, Role: herald.Analyst, Path: "/deliveries"}, life)
		if err != nil || token == "" || made.Path != "/deliveries" {
			t.Fatalf("%+v, %v", made, err)
		}
		return token
	}
	token := link(time.Minute)
	var (
		both    sync.WaitGroup
		redeems atomic.Int32
		session string
	)
	for range 8 {
		both.Go(func() {
			l, made, err := f.RedeemPortalLink(t.Context(), token)
			switch {
			case err == nil && l.ClientID == f.client.ID && l.Path == "/deliveries":
				if redeems.Add(1) == 1 {
					session = made
				}
			case herald.CodeOf(err) != herald.CodeUnauthorized:
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
	both.Wait()
	if redeems.Load() != 1 {
		t.Fatalf("the link was used %d times, want once", redeems.Load())
	}
	got, err := f.Session(t.Context(), session, true)
	if want := (herald.Key{ClientID: f.client.ID, Role: herald.Analyst}); err != nil || got.Caller.Key != want || got.Caller.Operator || !got.FromLink() {
		t.Errorf("session %+v (%v), want the link's client and role", got, err)
	}
	if got.Caller.Actor() != herald.ActorPortalLink {
		t.Errorf("the audit log would name %q", got.Caller.Actor())
	}
	if err := f.EndSessions(t.Context(), got.Caller); herald.CodeOf(err) != herald.CodeConflict {
		t.Errorf("signing out everywhere after a link: %v", err)
	}

	late, former, deleted := link(time.Minute), link(time.Minute), link(time.Minute)
	hash := secret.HashToken(late)
	f.exec(`UPDATE portal_links SET expires_at = $1 WHERE hash = $2`, pastFor(0), hash[:])
	wantRefused := func(what, token string) {
		t.Helper()
		if _, _, err := f.RedeemPortalLink(t.Context(), token); herald.CodeOf(err) != herald.CodeUnauthorized {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantRefused("an expired link", late)
	wantRefused("no link", "x")
	f.options.OperatorKeys = nil
	wantRefused("a link of an operator's key of before", former)
	wantEnded(t, "the operator's key changes", f.Store, session)
	f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	wantRefused("a deleted client's link", deleted)
	wantEnded(t, "the client is deleted", f.Store, session)
	_, _, err = f.CreatePortalLink(t.Context(), signedOperator, herald.PortalLink{ClientID: f.client.ID, Role: herald.Analyst}, time.Minute)
	wantCode(t, err, herald.CodeNotFound)
}

func TestOpenPortalLinksAreBounded(t *testing.T) { onBoth(t, testOpenPortalLinksAreBounded) }

func testOpenPortalLinksAreBounded(t *testing.T, f *fixture) {
	hash := func(i int) []byte { return append(make([]byte, 30), byte(i>>8), byte(i)) }
	for i := range herald.MaxOpenLinks {
		f.exec(`INSERT INTO portal_links (hash, client_id, operator_key, role, path, expires_at) VALUES ($1, $2, $3, 'analyst', '', $4)`,
			hash(i), f.client.ID[:], hash(i), micros(time.Now().Add(time.Hour)))
	}
	l := herald.PortalLink{ClientID: f.client.ID, Role: herald.Analyst}
	_, _, err := f.CreatePortalLink(t.Context(), signedOperator, l, time.Minute)
	wantCode(t, err, herald.CodeTooMany)
	f.exec(`UPDATE portal_links SET expires_at = $1`, pastFor(0))
	if _, _, err := f.CreatePortalLink(t.Context(), signedOperator, l, time.Minute); err != nil {
		t.Errorf("after they have expired: %v", err)
	}
	changes, _, err := f.Changes(t.Context(), f.client.ID, herald.ChangeFilter{Limit: 1})
	if err != nil || len(changes) != 1 || changes[0].Action != herald.PortalLinkCreated {
		t.Errorf("the audit log has %+v (%v)", changes, err)
	}
	if n, err := f.ExpireSessions(t.Context()); n == 0 || err != nil {
		t.Errorf("ExpireSessions = %d, %v", n, err)
	}
}

// TestViewedPagesOfASessionAreBounded: a session names so many pages, and then only their kinds.
func TestViewedPagesOfASessionAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
		token := f.session(signedOperator)
		open := func(page string) {
			t.Helper()
			if err := f.RecordView(t.Context(), signedOperator, token, f.client.ID, page, "/deliveries/{delivery}"); err != nil {
				t.Fatal(err)
			}
		}
		open("/deliveries/1")
		after, err := first(t.Context(), f.read, func(rows *sql.Rows) (after []byte, err error) {
			err = rows.Scan(&after)
			return after, err
		}, `SELECT after FROM audit WHERE action = 'client.viewed'`)
		if err != nil {
			t.Fatal(err)
		}
		for n := range maxViews - 2 {
			id := herald.NewID()
			f.exec(`INSERT INTO audit (id, client_id, action, subject, actor, address, after) VALUES ($1, $2, 'client.viewed', $3, 'operator', '', $4)`,
				id[:], f.client.ID[:], "/filled/"+strconv.Itoa(n), after)
		}
		for _, page := range []string{"/deliveries/last", "/deliveries/over", "/deliveries/over", "/deliveries/more", "/deliveries/1"} {
			open(page)
		}
		got, err := list(t.Context(), f.read, func(rows *sql.Rows) (page string, err error) {
			err = rows.Scan(&page)
			return page, err
		}, `SELECT subject FROM audit WHERE subject LIKE '/deliveries/%' ORDER BY subject`)
		if want := []string{"/deliveries/1", "/deliveries/last", "/deliveries/{delivery}"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("recorded %q, %v; want %q", got, err, want)
		}
	})
}

// TestViewsAreRecordedOncePerSession: the audit log says who looked at what, and does not grow with every request.
func TestViewsAreRecordedOncePerSession(t *testing.T) { onBoth(t, testViewsAreRecordedOnce) }

func testViewsAreRecordedOnce(t *testing.T, f *fixture) {
	f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
	one, two := f.session(signedOperator), f.session(signedOperator)
	other, _, err := f.CreateClient(t.Context(), operator, "Other", "")
	if err != nil {
		t.Fatal(err)
	}
	view := func(token string, client uuid.UUID, page string) {
		t.Helper()
		if err := f.RecordView(t.Context(), signedOperator, token, client, page, page); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { view(one, f.client.ID, "/deliveries") })
	}
	all.Wait()
	view(one, f.client.ID, "/deliveries/{delivery}/body")
	view(two, f.client.ID, "/deliveries")
	view(one, other.ID, "/deliveries")
	for client, want := range map[uuid.UUID]int{f.client.ID: 3, other.ID: 1} {
		changes, _, err := f.Changes(t.Context(), client, herald.ChangeFilter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		views := 0
		for _, c := range changes {
			if c.Action == herald.ClientViewed {
				views++
				if c.Actor != herald.ActorOperator || !bytes.HasPrefix(c.After, []byte(`{"session":"`)) || bytes.Contains(c.After, []byte(one)) {
					t.Errorf("entry %+v %s", c, c.After)
				}
			}
		}
		if views != want {
			t.Errorf("%d entries, want %d", views, want)
		}
	}
	if err := f.RecordView(t.Context(), signedOperator, "ended", f.client.ID, "/deliveries", "/deliveries"); herald.CodeOf(err) != herald.CodeUnauthorized {
		t.Errorf("without a session: %v", err)
	}
}
