//go:build !linux

package embedded_test

import "testing"

func mountSmallDisk(t *testing.T, _ string, _ int) {
	t.Helper()
	t.Skip("mounting a small tmpfs needs Linux")
}
