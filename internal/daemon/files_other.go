//go:build !unix

package daemon

func openFiles() uint64 { return usualFiles }
