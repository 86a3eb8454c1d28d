package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel end the process when we are killed.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
