package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/dtpnode/dtpnode/node"
)

// runNode runs the daemon until ctx ends or it is asked to shut down; a signal after that, or the end of hurry, cuts
// the leaving short.
func runNode(ctx, hurry context.Context, cfg node.Config) error {
	hurry, stop := context.WithCancel(hurry)
	defer stop()
	leaving := context.AfterFunc(ctx, func() {
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		select {
		case <-again:
			stop()
		case <-hurry.Done():
		}
	})
	defer leaving()
	return node.Run(ctx, hurry, cfg)
}
