package main

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestProcessorTimeIsThatOfTheProcess: a process that works shows it, also when its child works.
func TestProcessorTimeIsThatOfTheProcess(t *testing.T) {
	for name, script := range map[string]string{
		"itself":        "read a; while :; do :; done",
		"running child": "read a; (while :; do :; done) & wait",
		"ended child":   "read a; while :; do (i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done); done",
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command("sh", "-c", script)
			command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			in, err := command.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL); _ = command.Wait() }()
			before, err := familyTime(command.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			for used := time.Duration(0); used < 5*tick; {
				after, err := familyTime(command.Process.Pid)
				if err != nil {
					t.Fatal(err)
				}
				used = after - before
				time.Sleep(time.Millisecond)
			}
		})
	}
}
