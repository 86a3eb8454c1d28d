//go:build linux || darwin

package readmodel

import "golang.org/x/sys/unix"

// freeSpace is what a process without privileges may still write.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
