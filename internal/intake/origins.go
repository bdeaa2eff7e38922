package intake

import "sync"

// maxOriginBytes bounds the addresses and origins that are remembered: about 20,000 of them.
const maxOriginBytes = 4 << 20

// originSize is about what an entry takes beside its texts, in bytes.
const originSize = 64

// origins finds the origins of webhooks' addresses. It remembers them, because to parse an address takes
// as long as to render an alert. It is safe for concurrent use.
type origins struct {
	parse func(address string) (string, error)

	mu    sync.RWMutex
	known map[string]string // address to origin
	bytes int
}

// of returns the origin of an address. The error is that of parse.
func (o *origins) of(address string) (string, error) {
	o.mu.RLock()
	origin, known := o.known[address]
	o.mu.RUnlock()
	if known {
		return origin, nil
	}
	origin, err := o.parse(address)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(address) + len(origin) + originSize
	if o.bytes += size; o.known == nil || o.bytes > maxOriginBytes {
		o.known, o.bytes = make(map[string]string), size
	}
	o.known[address] = origin
	return origin, nil
}
