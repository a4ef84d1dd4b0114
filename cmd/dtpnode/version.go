package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/version"
	"github.com/dtpnode/dtpnode/node"
)

// versionInfo is what `version --output json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Protocol int    `json:"protocol"`        // newest number of the protocol between nodes that this build speaks
	Oldest   int    `json:"oldest_protocol"` // oldest number that it speaks
}

func newVersion(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Long: "version prints the version of this binary, and the numbers of the protocol between nodes that it speaks. " +
			"Hosts with\ndifferent versions work together if they speak a number in common.\n\nExit status: 0 printed, 2 " +
			"wrong usage.",
		Example: "  dtpnode version --output json",
		Args:    exactly(),
		RunE:    func(*cobra.Command, []string) error { return printVersion(g) },
	}
}

func printVersion(g *globals) error {
	oldest, newest := node.Protocols()
	v := versionInfo{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, newest, oldest}
	speaks := fmt.Sprintf("protocol %d", newest)
	if oldest < newest {
		speaks = fmt.Sprintf("protocols %d to %d", oldest, newest)
	}
	return g.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "dtpnode %s (%s, %s, %s)\n", v.Version, v.Go, v.Platform, speaks)
	})
}
