package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/version"
)

// versionInfo is what `version --output json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this binary",
		Long:    "version prints the version of this binary.\n\nExit status: 0 printed, 2 wrong usage.",
		Example: "  dtpnode version --output json",
		Args:    exactly(),
		RunE:    func(*cobra.Command, []string) error { return printVersion(g) },
	}
}

func printVersion(g *globals) error {
	v := versionInfo{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return g.show(v, func(w io.Writer) { fmt.Fprintf(w, "dtpnode %s (%s, %s)\n", v.Version, v.Go, v.Platform) })
}
