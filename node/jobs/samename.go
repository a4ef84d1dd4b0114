package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// Selectors write files of their own in Terminate, or have them merged, and their users often give -o the same name.
// Both are wanted then: the result has the name that the user gave, and the other file is kept beside it.

// wayOf is the state of a file, to tell later whether somebody has written it.
func wayOf(path string) fs.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return info
}

// writtenSince reports whether there is a regular file that was made or written after before was its state.
func writtenSince(path string, before fs.FileInfo) bool {
	now := wayOf(path)
	if now == nil || !now.Mode().IsRegular() {
		return false
	}
	return before == nil || !os.SameFile(before, now) || before.Size() != now.Size() ||
		!before.ModTime().Equal(now.ModTime())
}

// keepBeside gives a file another name in its folder, name-1.ext or the next number that is free, and returns its path.
func keepBeside(path string) (string, error) {
	ext := filepath.Ext(path)
	for i := 1; ; i++ {
		free := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i, ext)
		taken, err := os.OpenFile(free, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err == nil: // nobody else has the name now
			err = errors.Join(taken.Close(), os.Rename(path, free))
		}
		if err != nil {
			return "", fmt.Errorf("could not keep %q, which the job's program wrote, under the name %q: %w", path, free, err)
		}
		return free, nil
	}
}

// spareOwnFile keeps what the program's last step has written to out, which the result is to be written to. It names it
// among the program's files.
func spareOwnFile(out string, before fs.FileInfo, fin *exec.Finished) error {
	if out == "" || !writtenSince(out, before) {
		return nil
	}
	kept, err := keepBeside(out)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("the program wrote it as %s, which is the name of the result", filepath.Base(out))
	for i := range fin.Files {
		if f := &fin.Files[i]; f.Path == out {
			f.Path = kept
			if f.Note != "" {
				note = f.Note + "; " + note
			}
			f.Note = note
			return nil
		}
	}
	f := exec.OutputFile{Name: filepath.Base(kept), Path: kept, Note: note}
	if info := wayOf(kept); info != nil {
		f.Size = info.Size()
	}
	fin.Files = append(fin.Files, f)
	return nil
}
