package testservers

import "syscall"

// dieWithUs makes the kernel kill a child when we end, however that is.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
