package store

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/test/postgres"
)

// storedUse is the last use of a key in the database, 0 if there is none.
func (f *fixture) storedUse(key uuid.UUID) int64 {
	f.t.Helper()
	at, err := first(f.t.Context(), f.read, scanInt, `SELECT coalesce(used_at, 0) FROM keys WHERE id = $1`, key[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return at
}

func (f *fixture) saveKeyUses() {
	f.t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = f.SaveKeyUses(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) lastUse(key uuid.UUID) time.Time {
	f.t.Helper()
	keys, err := f.Keys(f.t.Context(), f.client.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, k := range keys {
		if k.ID == key {
			return k.LastUse
		}
	}
	f.t.Fatalf("there is no key %s", key)
	return time.Time{}
}

func TestLastUseOfAKeyIsStoredInBulk(t *testing.T) { onBoth(t, testLastUseOfAKeyIsStoredInBulk) }

func testLastUseOfAKeyIsStoredInBulk(t *testing.T, f *fixture) {
	used, unused := f.keyOf(f.client, herald.Developer).Key.ID, f.keyOf(f.client, herald.Developer).Key.ID
	before := f.clock.Now()
	version := f.state().Client.Revision
	for range 1000 {
		f.KeyUsed(used)
	}
	if at := f.storedUse(used); at != 0 {
		t.Errorf("before it is saved the database has %d", at)
	}
	if at := f.lastUse(used); at.IsZero() {
		t.Error("this node does not show a use that it knows of")
	}
	f.saveKeyUses()
	at := fromMicros(f.storedUse(used))
	if !at.Equal(at.Truncate(time.Minute)) || before.Sub(at) > time.Minute || at.After(f.clock.Now()) {
		t.Errorf("used at %v, stored as %v", before, at)
	}
	if shown := f.lastUse(used); shown.Before(before.Add(-time.Second)) || shown.After(f.clock.Now()) || !f.lastUse(unused).IsZero() {
		t.Errorf("a key made at %v is shown as used at %v; the other key %v", before, shown, f.lastUse(unused))
	}
	if f.state().Client.Revision != version {
		t.Error("a use makes the client's snapshots stale")
	}
}

// TestLaterUseOfAKeyWins: nodes store what each has seen, in any order.
func TestLaterUseOfAKeyWins(t *testing.T) { onBoth(t, testLaterUseOfAKeyWins) }

func testLaterUseOfAKeyWins(t *testing.T, f *fixture) {
	key := f.keyOf(f.client, herald.Developer).Key.ID
	early, late := int64(time.Minute/time.Microsecond), int64(time.Hour/time.Microsecond)
	for _, use := range []struct{ at, want int64 }{{early, early}, {late, late}, {early, late}} {
		f.keyUses.note(key, use.at)
		f.saveKeyUses()
		if got := f.storedUse(key); got != use.want {
			t.Errorf("after a use at %d the database has %d, want %d", use.at, got, use.want)
		}
	}
	f.keyUses.note(key, late+1)
	f.keyUses.note(key, early)
	if got := f.keyUses.of(key); got != late+1 {
		t.Errorf("noted is %d, want the later use", got)
	}
}

func TestUseByASessionCounts(t *testing.T) { onBoth(t, testUseByASessionCounts) }

func testUseByASessionCounts(t *testing.T, f *fixture) {
	by := f.keyOf(f.client, herald.Developer)
	token, err := f.CreateSession(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	for _, used := range []bool{false, true} { // a page that refreshes itself, and one that is opened
		if _, err := f.Session(t.Context(), token, used); err != nil {
			t.Fatal(err)
		}
		if at := f.lastUse(by.Key.ID); at.IsZero() == used {
			t.Errorf("used %v: the key's last use is %v", used, at)
		}
	}
	f.options.OperatorKeys = [][32]byte{signedOperator.OperatorKey}
	f.saveKeyUses()
	f.session(signedOperator)
	if n := len(f.keyUses.last); n != 0 {
		t.Errorf("the operator's session is a use of %d keys", n)
	}
}

// TestManyUsesOfKeys: memory is bounded, steps are small, and what another step stores is not lost.
func TestManyUsesOfKeys(t *testing.T) { onBoth(t, testManyUsesOfKeys) }

func testManyUsesOfKeys(t *testing.T, f *fixture) {
	key, other := f.keyOf(f.client, herald.Developer).Key.ID, f.keyOf(f.client, herald.Developer).Key.ID
	f.KeyUsed(key)
	for range 3 * step { // of keys that are revoked meanwhile
		f.KeyUsed(uuid.New())
	}
	calls := 0
	for n := 1; n > 0; calls++ {
		var err error
		if n, err = f.SaveKeyUses(t.Context()); err != nil || n > step {
			t.Fatalf("a step of %d (%v)", n, err)
		}
	}
	if calls != 4 || f.storedUse(key) == 0 {
		t.Errorf("%d steps; the key's use is stored as %d", calls, f.storedUse(key))
	}
	for len(f.keyUses.last) < maxKeyUses {
		f.KeyUsed(uuid.New())
	}
	f.KeyUsed(other)
	if n := len(f.keyUses.last); n != maxKeyUses {
		t.Errorf("%d uses are in memory", n)
	}
}

// TestUsesWaitForTheDatabase: what cannot be stored is stored later, and noting a use needs no database.
func TestUsesWaitForTheDatabase(t *testing.T) { onBoth(t, testUsesWaitForTheDatabase) }

func testUsesWaitForTheDatabase(t *testing.T, f *fixture) {
	key := f.keyOf(f.client, herald.Developer).Key.ID
	f.KeyUsed(key)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.uncounted = true // the database is closed
	noted := f.keyUses.of(key)
	if _, err := f.SaveKeyUses(t.Context()); err == nil {
		t.Error("no error without a database")
	}
	if got := f.keyUses.of(key); got != noted || noted == 0 {
		t.Errorf("after a failure %d is noted, want %d", got, noted)
	}
}

// TestNotingAUseAgainIsFree: every request of a publisher does it.
func TestNotingAUseAgainIsFree(t *testing.T) {
	uses, key := new(keyUses), uuid.New()
	uses.note(key, 1)
	if n := testing.AllocsPerRun(100, func() { uses.note(key, 1) }); n > 0 {
		t.Errorf("it allocates %v times", n)
	}
}

// TestEveryNodeShowsUses that another node has stored.
func TestEveryNodeShowsUses(t *testing.T) {
	o := Options{Database: postgres.Database(t)}
	f := newFixture(t, o)
	other := &fixture{Store: openAnother(t, o), t: t, client: f.client}
	key := f.keyOf(f.client, herald.Developer).Key.ID
	f.KeyUsed(key)
	f.saveKeyUses()
	if at := other.lastUse(key); at.IsZero() || !at.Equal(f.lastUse(key)) {
		t.Errorf("one node shows %v, the other %v", f.lastUse(key), at)
	}
}
