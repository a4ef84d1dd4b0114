package main

import (
	"fmt"
	"os"

	"github.com/dtpnode/dtpnode/node/api"
)

// stdout is standard output, which remembers that something could not be written to it: a full disk behind it must not
// pass for an answer without lines.
type stdout struct {
	file *os.File
	err  error // the first
}

// Write writes to standard output.
func (s *stdout) Write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// Fd is the number of the file, by which one tells whether it is a terminal.
func (s *stdout) Fd() uintptr { return s.file.Fd() }

// lost says that not all could be printed; nil if it could.
func (s *stdout) lost() error {
	if s.err == nil {
		return nil
	}
	return &api.Error{
		Message: fmt.Sprintf("could not print all of the answer on standard output: %v", s.err),
		Hint:    "is the disk full to which it goes? what the command did is done all the same",
		Err:     s.err,
	}
}
