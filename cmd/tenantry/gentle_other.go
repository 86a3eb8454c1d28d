//go:build !linux

package main

// gentle has no equal here.
func gentle() {}
