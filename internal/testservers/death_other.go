//go:build !linux

package testservers

import "syscall"

// dieWithUs is Linux's: elsewhere a test that is killed leaves its servers behind.
func dieWithUs(*syscall.SysProcAttr) {}
