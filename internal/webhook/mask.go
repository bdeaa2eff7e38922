package webhook

import (
	"sync"

	"herald/internal/secret"
)

// maxMasks bounds how many masks are remembered: one for each client with a header.
const maxMasks = 1024

// masks remembers the masks of headers, because making one takes longer than using it.
type masks struct {
	mu    sync.Mutex
	known map[string]secret.Mask
}

func (m *masks) of(authorization string) secret.Mask {
	if authorization == "" {
		return secret.Mask{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mask, known := m.known[authorization]
	if !known {
		if len(m.known) >= maxMasks || m.known == nil {
			m.known = make(map[string]secret.Mask)
		}
		mask = secret.NewMask(authorization)
		m.known[authorization] = mask
	}
	return mask
}
