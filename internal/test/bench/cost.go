package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// cost is processor time that was used: by the nodes, by the database server, and by this process,
// which publishes and receives.
type cost struct{ service, database, load time.Duration }

func (c cost) since(before cost) cost {
	return cost{c.service - before.service, c.database - before.database, c.load - before.load}
}

// cost returns what the service has used since its start. It needs Linux's /proc.
func (s *service) cost() (c cost, err error) {
	if c.load, err = ownTime(); err != nil || s == nil {
		return c, err
	}
	for _, n := range s.nodes {
		used, err := processTime(n.process.Process.Pid)
		if err != nil {
			return cost{}, err
		}
		c.service += used
	}
	if s.server != nil {
		c.database, err = familyTime(s.server.Pid())
	}
	return c, err
}

// ownTime returns the processor time that this process has used.
func ownTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// tick is the unit of the times in /proc on Linux, whatever the machine (proc(5), sysconf(_SC_CLK_TCK)).
const tick = 10 * time.Millisecond

// processTime returns the processor time that a process has used, with that of its ended children.
func processTime(pid int) (time.Duration, error) {
	_, used, err := processStat(pid)
	return used, err
}

// familyTime is processTime of a process and of its children that run.
func familyTime(pid int) (time.Duration, error) {
	sum, err := processTime(pid)
	if err != nil {
		return 0, err
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		id, _ := strconv.Atoi(filepath.Base(entry))
		if parent, used, err := processStat(id); err == nil && parent == pid { // an error: it has ended
			sum += used
		}
	}
	return sum, err
}

// processStat reads /proc/PID/stat: the process's parent and the processor time that it has used.
func processStat(pid int) (parent int, used time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("processor time is known on Linux only: %w", err)
	}
	// The fields after the name, which may contain anything, begin with the state, field 3.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const first, ppid, utime, cstime = 3, 4, 14, 17
	number := func(field int) int {
		n, fieldErr := strconv.Atoi(string(fields[field-first]))
		if fieldErr != nil {
			err = fieldErr
		}
		return n
	}
	for field := utime; field <= cstime; field++ {
		used += time.Duration(number(field)) * tick
	}
	return number(ppid), used, err
}
