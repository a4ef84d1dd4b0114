package store

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Data is the folder of files that programs have meant to stay on this host, as a selector for PROOF does with those in
// a worker's data folder. Each session or job has a folder in it. They are no part of a result, so that nothing but
// their age ends them.
type Data struct {
	Dir string
	Log *slog.Logger
}

// Prune removes the folders in which nothing was written for so long.
func (d Data) Prune(now time.Time, keep time.Duration) {
	folders, err := os.ReadDir(d.Dir)
	if err != nil {
		return // there is none
	}
	for _, f := range folders {
		dir := filepath.Join(d.Dir, f.Name())
		last, err := lastWritten(dir)
		if err != nil || now.Sub(last) <= keep {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			d.Log.Warn("could not remove files that a job has left here", "folder", dir, "reason", err)
		}
	}
}

// lastWritten is when something in a folder was written last.
func lastWritten(dir string) (last time.Time, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	return last, err
}
