package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// TestBlocksHaveEveryKeyOnce packs few and many ids, short and long keys. Each key is found in the
// block that begins at it or at the last key before it, and in no other.
func TestBlocksHaveEveryKeyOnce(t *testing.T) {
	alerts := make(map[string][]uuid.UUID)
	for i := range 500 {
		ids := make([]uuid.UUID, 1+i%7)
		if i%100 == 99 {
			ids = make([]uuid.UUID, 1000)
		}
		for j := range ids {
			ids[j] = uuid.New()
		}
		alerts[fmt.Sprintf("%04d%s", i, strings.Repeat("k", i%300))] = ids
	}
	var sorted []keyedAlerts
	for _, key := range slices.Sorted(maps.Keys(alerts)) {
		sorted = append(sorted, keyedAlerts{key, alerts[key]})
	}
	blocks := pack(sorted)
	if len(blocks) < 10 {
		t.Fatalf("%d blocks: the test proves nothing", len(blocks))
	}
	keys, n := 0, 0
	for _, b := range blocks {
		keys, n = keys+b.keys, n+b.n
		if b.keys > 1 && len(b.entries) > blockSize {
			t.Errorf("a block of %d keys has %d bytes", b.keys, len(b.entries))
		}
	}
	if keys != len(alerts) {
		t.Errorf("%d keys, want %d", keys, len(alerts))
	}
	for key, want := range alerts {
		n -= len(want)
		at, exact := slices.BinarySearchFunc(blocks, key, func(b block, key string) int { return strings.Compare(b.first, key) })
		if !exact {
			at--
		}
		for i, b := range blocks {
			got, err := find(nil, b.entries, key, key+"\x00")
			if err != nil {
				t.Fatal(err)
			}
			if i == at && !cmp.Equal(got, want) || i != at && got != nil {
				t.Errorf("%.8s in block %d of %d: %d ids", key, i, at, len(got))
			}
		}
	}
	if n != 0 {
		t.Errorf("the blocks say %d alerts more than there are", n)
	}
}

// FuzzFind looks for a key in bytes that may be no block.
func FuzzFind(f *testing.F) {
	from, to := alertSet{company: uuid.Max}.keys()
	some := keyedAlert{alertSet{company: uuid.Max, kind: "Sync Failed"}, uuid.Max}
	whole := pack(byKey([]keyedAlert{some, {some.alertSet, uuid.Nil}}))[0].entries
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, entries []byte) {
		ids, err := find(nil, entries, from, to)
		if len(ids)*16 > len(entries) {
			t.Errorf("%d ids in %d bytes, %v", len(ids), len(entries), err)
		}
	})
}
