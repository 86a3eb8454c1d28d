package postgres_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// leaderURL, where set, makes this program the leader that TestLead_ProcessIs… stops and kills.
const leaderURL = "TENANTRY_TEST_LEADER_URL"

func TestMain(m *testing.M) {
	if url := os.Getenv(leaderURL); url != "" {
		if err := leadUntilLost(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
