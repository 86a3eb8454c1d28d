//go:build unix

package daemon

import "syscall"

// openFiles is how many files this process may have open. Go has raised it to the hard limit.
func openFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return usualFiles
	}
	return uint64(l.Cur) //nolint:unconvert // it is signed on some systems
}
