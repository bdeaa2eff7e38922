//go:build unix

package app

import "syscall"

// raiseDescriptors raises the soft limit of descriptors to the hard one, and returns it. The soft
// one is often 1,024, for programs that use select(2).
func raiseDescriptors() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return defaultDescriptors
	}
	raised := limit
	if raised.Cur = raised.Max; raised.Cur != limit.Cur && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil {
		return uint64(limit.Cur)
	}
	return uint64(raised.Cur)
}
