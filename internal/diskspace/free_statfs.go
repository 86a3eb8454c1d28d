//go:build linux || darwin

package diskspace

import "golang.org/x/sys/unix"

// Free is how many octets a process without privileges may still write to a directory's disk.
func Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
