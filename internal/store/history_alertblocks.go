package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/google/uuid"
)

// The index has two entries for an alert, or one if it has no company. Their keys are the client, a letter,
// and what the letter stands for: a company with a type, or a type. Keys compare as bytes.
const (
	ofCompany = "c"
	ofType    = "t"
)

// alertSet is a set of a client's alerts that the index has: those of a company, of a type, or of both.
// company is uuid.Nil for alerts of every company and of none, kind is empty for every type.
type alertSet struct {
	client, company uuid.UUID
	kind            string
}

// keys returns the keys of the set: those from from to before to.
func (a alertSet) keys() (from, to string) {
	switch from = string(a.client[:]) + ofCompany + string(a.company[:]) + a.kind; {
	case a.company == uuid.Nil:
		from = string(a.client[:]) + ofType + a.kind
	case a.kind == "":
		return from, from + "\xff" // no type has this byte, which UTF-8 does not use
	}
	return from, from + "\x00"
}

// conditions adds the conditions on an alert a of the set.
func (a alertSet) conditions(c *conditions) {
	c.add("a.client_id = %s", a.client)
	if a.company != uuid.Nil {
		c.add("a.company_id = %s", a.company)
	}
	if a.kind != "" {
		c.add("a.type = %s", a.kind)
	}
}

// alertKeys returns an alert's keys. company is uuid.Nil for an alert without one.
func alertKeys(client, company uuid.UUID, kind string) []string {
	key, _ := alertSet{client, uuid.Nil, kind}.keys()
	if company == uuid.Nil {
		return []string{key}
	}
	both, _ := alertSet{client, company, kind}.keys()
	return []string{key, both}
}

// keyedAlerts are a key and the ids of its alerts in their order.
type keyedAlerts struct {
	key string
	ids []uuid.UUID
}

// keyedAlert is an alert, and of which sets it is.
type keyedAlert struct {
	alertSet
	id uuid.UUID
}

// byKey returns all keys of alerts in their order. It sorts the alerts.
func byKey(alerts []keyedAlert) []keyedAlerts {
	group := func(alerts []keyedAlert) (keys []keyedAlerts) {
		slices.SortFunc(alerts, func(a, b keyedAlert) int {
			return cmp.Or(compareIDs(a.client, b.client), compareIDs(a.company, b.company), cmp.Compare(a.kind, b.kind), compareIDs(a.id, b.id))
		})
		ids := make([]uuid.UUID, len(alerts))
		for i, a := range alerts {
			if ids[i] = a.id; i == 0 || a.alertSet != alerts[i-1].alertSet {
				key, _ := a.keys()
				keys = append(keys, keyedAlerts{key: key, ids: ids[i:i]})
			}
			last := &keys[len(keys)-1]
			last.ids = last.ids[:len(last.ids)+1]
		}
		return keys
	}
	companies := group(slices.DeleteFunc(slices.Clone(alerts), func(a keyedAlert) bool { return a.company == uuid.Nil }))
	for i := range alerts {
		alerts[i].company = uuid.Nil
	}
	types := group(alerts)
	all := make([]keyedAlerts, 0, len(companies)+len(types))
	for _, t := range types {
		n, _ := slices.BinarySearchFunc(companies, t, func(a, b keyedAlerts) int { return cmp.Compare(a.key, b.key) })
		all = append(append(all, companies[:n]...), t)
		companies = companies[n:]
	}
	return append(all, companies...)
}

// block is a row of alert_blocks: some keys of a segment in their order, each with the ids of its
// alerts in theirs. An entry is the key and the ids, each after its length as a varint. A key has
// all its ids in one block, which it shares only with others that fit.
type block struct {
	first   string
	keys, n int
	entries []byte
}

// blockSize is how many bytes of entries a block has at most, unless it has one key. A list reads one
// block of each segment: larger ones cost it more, smaller ones make more rows.
const blockSize = 4 << 10

// pack returns the blocks of a segment.
func pack(alerts []keyedAlerts) []block {
	var (
		blocks []block
		b      block
	)
	for _, a := range alerts {
		key, ids := a.key, a.ids
		if b.keys > 0 && len(b.entries)+len(key)+2*binary.MaxVarintLen16+len(ids)*len(uuid.Nil) > blockSize {
			blocks, b = append(blocks, b), block{}
		}
		if b.keys == 0 {
			b.first = key
		}
		b.keys++
		b.n += len(ids)
		b.entries = append(binary.AppendUvarint(b.entries, uint64(len(key))), key...)
		b.entries = binary.AppendUvarint(b.entries, uint64(len(ids)))
		for i := range ids {
			b.entries = append(b.entries, ids[i][:]...)
		}
	}
	if b.keys > 0 {
		blocks = append(blocks, b)
	}
	return blocks
}

var errBadBlock = errors.New("a block of the index of alerts is damaged")

// find adds to found the ids that the entries of a block have under the keys from from to before to.
func find(found []uuid.UUID, entries []byte, from, to string) ([]uuid.UUID, error) {
	for len(entries) > 0 {
		has, rest, ok := cut(entries, 1)
		ids, rest, also := cut(rest, len(uuid.Nil))
		if !ok || !also {
			return nil, errBadBlock
		}
		if string(has) >= to {
			break
		}
		if string(has) >= from {
			found = slices.Grow(found, len(ids)/len(uuid.Nil))
			for id := range slices.Chunk(ids, len(uuid.Nil)) {
				found = append(found, uuid.UUID(id))
			}
		}
		entries = rest
	}
	return found, nil
}

// cut returns the items of so many bytes that follow their number.
func cut(from []byte, size int) (items, rest []byte, ok bool) {
	n, length := binary.Uvarint(from)
	if length <= 0 || n > uint64((len(from)-length)/size) {
		return nil, nil, false
	}
	end := length + int(n)*size
	return from[length:end], from[end:], true
}
