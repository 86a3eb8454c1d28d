package replay

import (
	"os/exec"
	"syscall"
)

// dieWithTests has the kernel end the process when the tests are killed or run out of time,
// which no code of theirs would notice.
func dieWithTests(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
