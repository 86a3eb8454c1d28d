package testservers

import (
	"os"
	"testing"
)

// missing ends a test that lacks a server: it skips it, by the server's name, or with
// REQUIRE_SERVICES=1 fails it.
func missing(tb testing.TB, server string, why error) {
	tb.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		tb.Fatalf("%s is needed (REQUIRE_SERVICES=1): %v", server, why)
	}
	tb.Skipf("%s is not there: %v", server, why)
}

// Missing ends a test that lacks a program which it cannot start or install itself.
func Missing(tb testing.TB, program string, why error) {
	tb.Helper()
	missing(tb, program, why)
}
