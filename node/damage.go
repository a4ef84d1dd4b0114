package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
)

// Damage is a file of a daemon's state that cannot be used.
type Damage struct {
	Text string // which one, and what is wrong with it
	Mend string // what to do about it
}

// Damages looks at the files in a state folder without which a daemon does not start, or does not know of jobs that it
// keeps. It changes nothing; a daemon may run.
func Damages(state string) (all []Damage) {
	if _, err := lastBoot(state); err != nil {
		d := bootDamage(state, err)
		all = append(all, Damage{d.Message, d.Hint})
	}
	for _, err := range p2p.Damaged(filepath.Join(state, "p2p")) {
		why, mend, _ := strings.Cut(err.Error(), "; ")
		all = append(all, Damage{why, mend})
	}
	dirs, _ := os.ReadDir(api.JobsDir(state))
	for _, e := range dirs {
		dir := filepath.Join(api.JobsDir(state), e.Name())
		if _, err := readStatus(dir); err != nil {
			d := statusDamage(dir, err)
			all = append(all, Damage{d.Message, d.Hint})
		}
	}
	return all
}

// bootDamage is the error of a count of lives that cannot be read.
func bootDamage(state string, err error) *api.Error {
	path := filepath.Join(state, bootFile)
	return &api.Error{
		Message: fmt.Sprintf("could not read how often the daemon was started, from %q: %v", path, err),
		Hint: fmt.Sprintf("if this host's clock is right, which says %s, remove that file: the daemon counts on from the clock, and nothing else is lost",
			time.Now().Format(time.DateTime)),
		Err: err,
	}
}

// readStatus reads what is kept of a job in its folder: nothing, without an error, where there is neither a status nor a
// result.
func readStatus(dir string) (saved savedStatus, err error) {
	b, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, fs.ErrNotExist) && store.SizeOf(filepath.Join(dir, api.ResultFile)) < 0 {
		return saved, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err == nil && saved.ID != filepath.Base(dir) {
		err = fmt.Errorf("it is of job %q", saved.ID)
	}
	return saved, err
}

// statusDamage is the error of a job whose status cannot be read.
func statusDamage(dir string, err error) *api.Error {
	name := filepath.Base(dir)
	e := &api.Error{
		Status:  http.StatusInternalServerError,
		Message: fmt.Sprintf("could not read what is kept of job %s, from %q: it is damaged: %v", api.Short(name), filepath.Join(dir, statusFile), err),
		Hint:    "restore that file and start the daemon again; of its output nothing is kept here: `rm -r " + dir + "` drops the rest",
		Err:     err,
	}
	if output := filepath.Join(dir, api.ResultFile); store.SizeOf(output) >= 0 {
		e.Hint = "its output is there still: copy " + output + ", which may lack entries, for the status alone said so; or restore that file and start the daemon again"
	}
	return e
}

// unreadable finds a job whose status cannot be read among those that are kept here; nil if that is not why it is not known.
func (d *Daemon) unreadable(name string) error {
	dirs, _ := filepath.Glob(filepath.Join(d.jobsDir(), name+"*"))
	if name == "" || strings.ContainsAny(name, `*?[\/`) || len(dirs) != 1 {
		return nil
	}
	if _, err := readStatus(dirs[0]); err != nil {
		return statusDamage(dirs[0], err)
	}
	return nil
}
