package webhook

import "sync"

// maxMadeFrom bounds the addresses and Authorization headers of which it is remembered what was made of them,
// in bytes. That takes up to fifty times as much.
const maxMadeFrom = 1 << 10

// memo remembers values by their keys, and forgets any one when it has max. It is safe for concurrent use.
type memo[K comparable, V any] struct {
	max   int
	mu    sync.RWMutex
	known map[K]V
}

func newMemo[K comparable, V any](most int) *memo[K, V] {
	return &memo[K, V]{max: most, known: make(map[K]V)}
}

func (m *memo[K, V]) get(key K) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, has := m.known[key]
	return value, has
}

func (m *memo[K, V]) set(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, has := m.known[key]; !has && len(m.known) >= m.max {
		for any := range m.known {
			delete(m.known, any)
			break
		}
	}
	m.known[key] = value
}
