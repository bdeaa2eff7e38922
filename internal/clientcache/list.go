package clientcache

import (
	"slices"
	"sort"
)

// list is a sorted list of rules that never changes: with and without return another list, which shares most of
// its memory. A change copies one chunk, and the slice of all chunks. So a client at its next version costs a few
// kilobytes beside the version before, at 100,000 rules too.
type list struct {
	chunks [][]*Rule // each sorted, none empty
	order  func(a, b *Rule) int
}

// maxChunk is the length at which a chunk is split. With it, the chunks of 100,000 rules are about as many as the
// rules of a chunk, so that a change copies the least.
const maxChunk = 512

// newList returns a list of rules. It sorts them in place.
func newList(rules []*Rule, order func(a, b *Rule) int) list {
	l := list{order: order}
	if !slices.IsSortedFunc(rules, order) {
		slices.SortFunc(rules, order)
	}
	for chunk := range slices.Chunk(rules, maxChunk*3/4) {
		l.chunks = append(l.chunks, slices.Clone(chunk))
	}
	return l
}

// find returns the place of the first rule for which before is false, counted in chunks and in the chunk. before
// must be true for the rules at the beginning of the list, and false for the others.
func (l list) find(before func(*Rule) bool) (chunk, n int) {
	chunk = sort.Search(len(l.chunks), func(i int) bool { return !before(l.chunks[i][len(l.chunks[i])-1]) })
	if chunk == len(l.chunks) {
		return chunk, 0
	}
	return chunk, sort.Search(len(l.chunks[chunk]), func(i int) bool { return !before(l.chunks[chunk][i]) })
}

// at returns the rule at a place, nil after the last one.
func (l list) at(chunk, n int) *Rule {
	if chunk == len(l.chunks) {
		return nil
	}
	return l.chunks[chunk][n]
}

// appendWhile appends the rules from a place on, up to the first for which belongs is false.
func (l list) appendWhile(to []*Rule, chunk, n int, belongs func(*Rule) bool) []*Rule {
	for ; chunk < len(l.chunks); chunk, n = chunk+1, 0 {
		for _, r := range l.chunks[chunk][n:] {
			if !belongs(r) {
				return to
			}
			to = append(to, r)
		}
	}
	return to
}

// with returns the list with a rule that it does not have.
func (l list) with(r *Rule) list {
	chunk, n := l.find(func(other *Rule) bool { return l.order(other, r) < 0 })
	if len(l.chunks) == 0 {
		return list{[][]*Rule{{r}}, l.order}
	}
	if chunk == len(l.chunks) {
		chunk--
		n = len(l.chunks[chunk])
	}
	grown := make([]*Rule, 0, len(l.chunks[chunk])+1)
	grown = append(append(append(grown, l.chunks[chunk][:n]...), r), l.chunks[chunk][n:]...)
	if len(grown) <= maxChunk {
		return l.replaced(chunk, chunk+1, grown)
	}
	return l.replaced(chunk, chunk+1, slices.Clone(grown[:maxChunk/2]), slices.Clone(grown[maxChunk/2:]))
}

// without returns the list without a rule that it has.
func (l list) without(r *Rule) list {
	chunk, n := l.find(func(other *Rule) bool { return l.order(other, r) < 0 })
	if len(l.chunks[chunk]) == 1 {
		return l.replaced(chunk, chunk+1)
	}
	left := slices.Concat(l.chunks[chunk][:n], l.chunks[chunk][n+1:])
	if next := chunk + 1; next < len(l.chunks) && len(left)+len(l.chunks[next]) <= maxChunk/2 {
		return l.replaced(chunk, next+1, slices.Concat(left, l.chunks[next]))
	}
	return l.replaced(chunk, chunk+1, left)
}

// replaced returns the list with other chunks instead of those from i to before j.
func (l list) replaced(i, j int, chunks ...[]*Rule) list {
	return list{slices.Concat(l.chunks[:i], chunks, l.chunks[j:]), l.order}
}
