package compose

import (
	"os/exec"
	"syscall"
)

// endWithTests gives a process a group of its own, with its children, and has the kernel end it
// when the tests are killed or run out of time, which no code of theirs would notice. It is
// asked to end, since only nginx itself ends its workers.
func endWithTests(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
}

// confine has a process see a directory as the whole file system, as a user without a name.
func confine(cmd *exec.Cmd, root string, uid, gid int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
	}
}
