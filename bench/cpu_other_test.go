//go:build !unix

package bench

import "time"

// processorTime is not known here, and is not reported.
func processorTime() time.Duration { return 0 }
