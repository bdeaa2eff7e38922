package app

import "testing"

// TestConnectionsLeaveDescriptors for the database and for sending, however few there are.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	for descriptors, want := range map[uint64]int{
		0: 1, 64: 32, 1024: 512, 4096: 2048, 2 * reservedDescriptors: reservedDescriptors, 10_000: 10_000 - reservedDescriptors,
		65_536: mostConnections, 1 << 40: mostConnections,
	} {
		if got := connectionLimit(descriptors); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
	if raised := raiseDescriptors(); raised < 64 {
		t.Errorf("only %d descriptors", raised)
	}
}
