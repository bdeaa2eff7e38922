//go:build !unix

package app

// raiseDescriptors returns how many connections may be open.
func raiseDescriptors() uint64 { return defaultDescriptors }
