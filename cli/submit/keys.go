package submit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Terminal reads single keys from a terminal. Ctrl-C still interrupts meanwhile, and output is not changed.
type Terminal struct{ fd int }

// NewTerminal returns the keys of f, or nil if f is no terminal of which this process has the
// foreground: a background process that touches its terminal would be stopped.
func NewTerminal(f *os.File) *Terminal {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || front != unix.Getpgrp() {
		return nil
	}
	return &Terminal{fd: fd}
}

// Listen switches line editing and echo off and reads keys until stop is called.
func (t *Terminal) Listen() (<-chan byte, func(), error) {
	old, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return nil, nil, fmt.Errorf("could not read the terminal's mode: %w", err)
	}
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return nil, nil, fmt.Errorf("could not set the terminal's mode: %w", err)
	}
	t.discard()
	ctx, cancel := context.WithCancel(context.Background())
	keys := make(chan byte)
	var reader sync.WaitGroup
	reader.Go(func() { t.read(ctx, keys) })
	stop := func() {
		cancel()
		reader.Wait()
		t.discard()
		_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, old)
	}
	return keys, stop, nil
}

// discard drops keys that were pressed before the question or after the answer. If the kernel did this (TCSETSF), it
// could also drop a Ctrl-C that it has not turned into an interrupt yet.
func (t *Terminal) discard() {
	for {
		poll := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 0); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil || n <= 0 {
			return
		}
		var b [256]byte
		if n, err := unix.Read(t.fd, b[:]); err != nil || n == 0 {
			return
		}
	}
}

// read passes keys on until ctx ends. It polls with a short timeout, since a read cannot be interrupted.
func (t *Terminal) read(ctx context.Context, keys chan<- byte) {
	const turn = 50 // ms
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, turn)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if n <= 0 {
			continue
		}
		var b [1]byte
		if n, err := unix.Read(t.fd, b[:]); err != nil || n == 0 {
			return
		}
		select {
		case keys <- b[0]:
		case <-ctx.Done():
		}
	}
}
