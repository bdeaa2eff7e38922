//go:build unix

package app

import "golang.org/x/sys/unix"

// lowestPriority is the niceness of what may wait for all others, 19 in POSIX. Linux takes the priority
// for the disk from it.
const lowestPriority = 19

// lowerPriority lowers the priority of this thread on Linux, and of the process elsewhere. Without it a
// check disturbs others more, and is no worse.
func lowerPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowestPriority) }
