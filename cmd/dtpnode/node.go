package main

import (
	"context"
	"errors"
	"log/slog"
)

// nodeConfig is what `up` hands to the daemon.
type nodeConfig struct {
	StateDir, CacheDir, ScratchDir string
	Listen                         []string
	Name                           string
	Slots                          int
	ROOTPrefix                     string
	InstallROOT                    bool
	Memory                         int64
	Version                        string
	Logger                         *slog.Logger
}

// runNode runs the daemon until ctx ends or it is asked to shut down.
func runNode(context.Context, nodeConfig) error {
	return errors.New("could not run the daemon: it is not part of this build yet")
}
