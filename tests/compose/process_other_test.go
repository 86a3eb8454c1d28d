//go:build !linux

package compose

import (
	"os/exec"
	"syscall"
)

// endWithTests gives a process a group of its own, with its children.
func endWithTests(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// confine needs Linux.
func confine(*exec.Cmd, string, int, int) {}
