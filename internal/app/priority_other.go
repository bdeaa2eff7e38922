//go:build !unix

package app

// lowerPriority does nothing where the system has no niceness.
func lowerPriority() {}
