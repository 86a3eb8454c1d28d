package diskspace

import (
	"os"

	"golang.org/x/sys/unix"
)

func allocate(f *os.File, octets int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, octets) }
