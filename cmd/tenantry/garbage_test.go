package main

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestCollectSooner_OperatorSaysNothing_LowersThePercentage(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want int
	}{
		"nothing set":                         {nil, gcPercent},
		"GOGC set: it is the operator's":      {map[string]string{"GOGC": "100"}, 77},
		"GOMEMLIMIT set: the limit is enough": {map[string]string{"GOMEMLIMIT": "1GiB"}, 77},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"GOGC", "GOMEMLIMIT"} {
				value, set := c.env[variable]
				t.Setenv(variable, value) // puts back what was there, at the end
				if !set {
					if err := os.Unsetenv(variable); err != nil {
						t.Fatal(err)
					}
				}
			}
			defer debug.SetGCPercent(debug.SetGCPercent(77))
			collectSooner()
			if got := debug.SetGCPercent(77); got != c.want {
				t.Errorf("the percentage is %d, want %d", got, c.want)
			}
		})
	}
}
