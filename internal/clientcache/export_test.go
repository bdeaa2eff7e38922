package clientcache

// Bytes returns how many bytes the cached clients count.
func (c *Cache) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clients.bytes
}
