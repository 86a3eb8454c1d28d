package embedded_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// mountSmallDisk mounts a file system of its own at dir for the time of the test.
func mountSmallDisk(t *testing.T, dir string, size int) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a small tmpfs needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}
