package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the Makefile with -ldflags; a build without it says what Go knows.
var (
	version = ""
	commit  = ""
)

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

func currentVersion() versionInfo {
	v := versionInfo{Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (v versionInfo) String() string {
	return fmt.Sprintf("tenantry %s, commit %s, %s", v.Version, v.Commit, v.Go)
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show version, commit and Go version",
		Example: "  tenantry version --output json",
		Args:    takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			if asJSON(cmd) {
				return printJSON(cmd, v)
			}
			return printf(cmd, "%s\n", v)
		},
	}
	addOutput(cmd)
	return cmd
}
