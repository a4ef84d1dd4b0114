package main

import (
	"context"
	"errors"

	"github.com/dtpnode/dtpnode/demo"
	"github.com/dtpnode/dtpnode/internal/doctor"
)

// tools is rootexec as doctor and the demo want it.
type tools struct{ prefix, cache string }

var errNoTools = errors.New("could not look for ROOT: it is not part of this build yet")

func (t tools) Find(ctx context.Context) (demo.ROOT, error) { return demo.ROOT{}, errNoTools }
func (t tools) Install(ctx context.Context, report func(string)) (demo.ROOT, error) {
	return demo.ROOT{}, errNoTools
}
func (t tools) BuildChild(ctx context.Context, root demo.ROOT, report func(string)) error {
	return errNoTools
}
func (t tools) find(ctx context.Context) (doctor.ROOT, error) { return doctor.ROOT{}, errNoTools }
func (t tools) build(ctx context.Context) error               { return errNoTools }
